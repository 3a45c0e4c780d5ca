/* sections.h: the parts of a run's page about scores, data, settings and the machine. Internal to core/report. */
#ifndef CDU_REPORT_SECTIONS_H
#define CDU_REPORT_SECTIONS_H

#include "core/base/text.h"
#include "core/report/run.h"

void cdu_section_scores(cdu_text *out, const cdu_run_record *run, int split);
void cdu_section_data(cdu_text *out, const cdu_run_record *run);
void cdu_section_settings(cdu_text *out, const cdu_run_record *run);
void cdu_section_machine(cdu_text *out, const cdu_run_record *run);

/* Seconds from the log; a step's mean is without the first one, which compiles. waits: of the device, for tiles; NaN where the log has none. */
typedef struct { double training, validation, step, waits; } cdu_run_times;
cdu_run_times cdu_run_times_of(const cdu_run_record *run);

/* A setting's value as study.yaml has it ("model", "width"), or "" where it is not there. */
void cdu_run_setting(const cdu_run_record *run, const char *section, const char *key, char *out, size_t size);
/* The n-th setting of study.yaml; false where there are no more. */
bool cdu_run_setting_at(const cdu_run_record *run, size_t n, char section[48], char key[64], char value[256]);

#endif
