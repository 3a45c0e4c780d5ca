/* folder.h: the run folder and who may write into it. Internal to core/train. */
#ifndef CDU_TRAIN_FOLDER_H
#define CDU_TRAIN_FOLDER_H

#include "cdunet/study.h"

/* Creates the folder and takes its lock, which dies with the process. CDU_CANNOT_WRITE at once where another process has it;
 * CDU_USAGE where a run lies there and `resume` is false. Unlock with cdu_run_folder_unlock. */
cdu_status cdu_run_folder_lock(const char *folder, bool resume, int *lock, cdu_error *error);
void cdu_run_folder_unlock(int lock);
/* study.yaml and command.txt (`command` may be null). */
cdu_status cdu_run_folder_describe(const char *folder, const cdu_study *study, const char *command, cdu_error *error);
/* The file `complete`, which only a run of several ranks has that came to its end: mpiexec's exit code can be 0 without. Written or removed. */
cdu_status cdu_run_folder_complete(const char *folder, bool complete, cdu_error *error);

#endif
