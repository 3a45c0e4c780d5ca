/* log.h: what the library has to say while it works. The library never prints: every message goes to one handler, which a
 * program sets; without a handler messages are dropped. Threads: cdu_log may be called from any thread and calls the handler
 * under a lock; set the handler before starting threads. */
#ifndef CDUNET_LOG_H
#define CDUNET_LOG_H

#ifdef __cplusplus
extern "C" {
#endif

typedef enum { CDU_LOG_DEBUG, CDU_LOG_INFO, CDU_LOG_WARNING, CDU_LOG_ERROR } cdu_log_level;
typedef void cdu_log_handler(cdu_log_level level, const char *line, void *context);

void cdu_log_set_handler(cdu_log_handler *handler, void *context, cdu_log_level least);
/* What the handler gets from now on; returns what it got before. */
cdu_log_level cdu_log_set_least(cdu_log_level least);

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
void cdu_log(cdu_log_level level, const char *format, ...);

#ifdef __cplusplus
}
#endif
#endif
