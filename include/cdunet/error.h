/* error.h: how every call of cdunet that can fail says so. A call returns a cdu_status and fills the cdu_error that the caller
 * passed; the words name the file, line, device or numbers concerned and what to do. Statuses are the program's exit codes.
 * Threads: an error object belongs to one caller at a time; the functions below touch nothing else. */
#ifndef CDUNET_ERROR_H
#define CDUNET_ERROR_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* code, exit code, meaning */
#define CDU_STATUS_LIST(X)                                                     \
    X(CDU_OK, 0, "done")                                                       \
    X(CDU_FAILED, 1, "failed")                                                 \
    X(CDU_USAGE, 2, "wrong usage")                                             \
    X(CDU_BAD_DATA, 65, "bad data")                                            \
    X(CDU_NO_DEVICE, 69, "no usable device")                                   \
    X(CDU_CANNOT_WRITE, 73, "cannot write")                                    \
    X(CDU_RANK_SILENT, 74, "a rank did not answer")                            \
    X(CDU_TRY_AGAIN, 75, "device lost or out of memory")                       \
    X(CDU_STOPPED, 130, "stopped by a signal")

typedef enum {
#define CDU_STATUS_ENUM(code, number, text) code = number,
    CDU_STATUS_LIST(CDU_STATUS_ENUM)
#undef CDU_STATUS_ENUM
} cdu_status;

/* Zero-initialize before the first use. `where` is the source place that refused, for developers. */
typedef struct {
    cdu_status status;
    char words[768];
    char where[96];
} cdu_error;

/* The meaning of a status as a short text; never null. */
const char *cdu_status_text(cdu_status status);

/* Fills `error` (which may be null) and returns `status`. Call it through cdu_fail. */
#if defined(__GNUC__)
__attribute__((format(printf, 4, 5)))
#endif
cdu_status cdu_error_set(cdu_error *error, cdu_status status, const char *where, const char *format, ...);

/* Puts "prefix: " in front of the words already there (a file name, a slide, a tensor); returns the error's status. */
#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
cdu_status cdu_error_prefix(cdu_error *error, const char *format, ...);

#define CDU_STRING_(x) #x
#define CDU_STRING(x) CDU_STRING_(x)
#define cdu_fail(error, status, ...) cdu_error_set((error), (status), __FILE__ ":" CDU_STRING(__LINE__), __VA_ARGS__)

/* Returns from the calling function with the status of `call` if that is not CDU_OK. */
#define CDU_TRY(call)                                                          \
    do {                                                                       \
        cdu_status cdu_try_status_ = (call);                                   \
        if (cdu_try_status_ != CDU_OK) return cdu_try_status_;                 \
    } while (0)

#ifdef __cplusplus
}
#endif
#endif
