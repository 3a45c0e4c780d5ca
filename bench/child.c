/* child.c: fork, exec, pipes. */
#include "bench/child.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* In the child: never returns. */
static void become(const char *const *arguments, const char *const *environment, int in, int out, int errors)
{
    dup2(in, 0);
    dup2(out, 1);
    if (errors >= 0) dup2(errors, 2);
    for (int fd = 3; fd < 1024; fd++) close(fd);
    for (; environment && *environment; environment++) {
        char *copy = strdup(*environment);
        if (copy) putenv(copy);
    }
    char *words[64] = {NULL};
    for (int i = 0; i < 63 && arguments[i]; i++) words[i] = strdup(arguments[i]);
    execvp(words[0], words);
    fprintf(stderr, "cdunet-bench: %s cannot be started: %s\n", words[0], strerror(errno));
    _exit(127);
}

cdu_status bench_child_start(bench_child *child, const char *const *arguments, const char *const *environment, bool quiet, cdu_error *error)
{
    int to[2], from[2];
    *child = (bench_child){.errors = quiet ? tmpfile() : NULL};
    if (pipe(to) != 0) return cdu_fail(error, CDU_TRY_AGAIN, "no pipe: %s", strerror(errno));
    if (pipe(from) != 0) return close(to[0]), close(to[1]), cdu_fail(error, CDU_TRY_AGAIN, "no pipe: %s", strerror(errno));
    child->pid = fork();
    if (child->pid == 0) become(arguments, environment, to[0], from[1], child->errors ? fileno(child->errors) : -1);
    close(to[0]);
    close(from[1]);
    child->in = fdopen(to[1], "w");
    child->out = fdopen(from[0], "r");
    if (child->pid > 0 && child->in && child->out) return CDU_OK;
    bench_child_end(child);
    return cdu_fail(error, CDU_TRY_AGAIN, "%s cannot be started: %s", arguments[0], strerror(errno));
}

/* The last line of what a quiet child said, or `otherwise`. */
static void last_words(const bench_child *child, const char *otherwise, char *out, size_t size)
{
    char line[512];
    snprintf(out, size, "%s", otherwise);
    if (!child->errors) return;
    rewind(child->errors);
    while (fgets(line, sizeof line, child->errors)) {
        line[strcspn(line, "\n")] = 0;
        if (line[0]) snprintf(out, size, "%s", line);
    }
}

cdu_status bench_child_line(bench_child *child, json_t **out, cdu_error *error)
{
    char *line = NULL, words[512];
    size_t room = 0;
    int state = 0;
    ssize_t length = getline(&line, &room, child->out);
    *out = length > 0 ? json_loads(line, 0, NULL) : NULL;
    free(line);
    if (*out) return CDU_OK;
    if (length > 0) return cdu_fail(error, CDU_FAILED, "it printed something that is no JSON");
    waitpid(child->pid, &state, 0);
    child->pid = 0;
    last_words(child, "it ended early", words, sizeof words);
    return cdu_fail(error, WIFEXITED(state) && WEXITSTATUS(state) == CDU_NO_DEVICE ? CDU_NO_DEVICE : CDU_FAILED, "%s", words);
}

cdu_status bench_child_json(bench_child *child, json_t **out, cdu_error *error)
{
    int state = 0;
    *out = json_loadf(child->out, JSON_DISABLE_EOF_CHECK, NULL);
    fclose(child->in);
    fclose(child->out);
    pid_t pid = child->pid;
    *child = (bench_child){0};
    waitpid(pid, &state, 0);
    if (WIFEXITED(state) && WEXITSTATUS(state) == 0 && *out) return CDU_OK;
    json_decref(*out);
    *out = NULL;
    if (WIFSIGNALED(state)) return cdu_fail(error, CDU_FAILED, "the process that measures was ended by signal %d", WTERMSIG(state));
    return cdu_fail(error, WEXITSTATUS(state) ? (cdu_status)WEXITSTATUS(state) : CDU_FAILED,
                    "the process that measures ended with exit code %d; its words stand above", WEXITSTATUS(state));
}

void bench_child_end(bench_child *child)
{
    if (child->in) fclose(child->in);
    while (child->out && getc(child->out) != EOF) continue; /* it may still have something to say */
    if (child->out) fclose(child->out);
    if (child->errors) fclose(child->errors);
    if (child->pid > 0) waitpid(child->pid, NULL, 0);
    *child = (bench_child){0};
}

cdu_status bench_child_self(char *out, size_t size, cdu_error *error)
{
    ssize_t length = readlink("/proc/self/exe", out, size - 1);
    if (length <= 0) return cdu_fail(error, CDU_FAILED, "the path of this program is not known: %s", strerror(errno));
    out[length] = 0;
    return CDU_OK;
}
