/* log.c: one handler behind one lock. */
#include "cdunet/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static cdu_log_handler *current_handler;
static void *handler_context;
static cdu_log_level least_level = CDU_LOG_INFO;

void cdu_log_set_handler(cdu_log_handler *handler, void *context, cdu_log_level least)
{
    pthread_mutex_lock(&lock);
    current_handler = handler;
    handler_context = context;
    least_level = least;
    pthread_mutex_unlock(&lock);
}

cdu_log_level cdu_log_set_least(cdu_log_level least)
{
    pthread_mutex_lock(&lock);
    cdu_log_level before = least_level;
    least_level = least;
    pthread_mutex_unlock(&lock);
    return before;
}

void cdu_log(cdu_log_level level, const char *format, ...)
{
    char line[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    pthread_mutex_lock(&lock);
    if (current_handler && level >= least_level) current_handler(level, line, handler_context);
    pthread_mutex_unlock(&lock);
}
