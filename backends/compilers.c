/* compilers.c: starting, asking and serving. A request and its answer (one byte: 1 where the kernel was compiled) go through a socket
 * pair. POSIX. */
#define _GNU_SOURCE
#include "backends/backend.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/cache.h"
#include "backends/host.h"
#include "cdunet/log.h"
#include "core/base/debug.h"
#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/base/thread.h"
#include "shaders/shaders.h"

enum { PROCESSES = 32, WORTH_A_PROCESS = 4, SHARE_OF_FREE = 8, LONGEST_MS = 120000 };
static const char program[] = "cdunet-compile", kind[] = "compiled";
extern char **environ;

typedef struct { pid_t pid; int socket; bool busy, dead; } process;

struct cdu_compilers {
    cdu_device_info device;
    process of[PROCESSES];
    uint32_t count;
    pthread_mutex_t lock;
    pthread_cond_t freed;
};

/* ---- which kernels the driver's cache has ---- */

static cdu_cache_key key_of(const cdu_device_info *device, const cdu_compile_request *r)
{
    const char *text = "", *prelude = "", *cache = getenv("POCL_CACHE_DIR");
    cdu_shader_text(r->source, &text, NULL);
    cdu_shader_text("prelude.opencl.h", &prelude, NULL);
    const char *parts[] = {prelude, text, r->kernel, r->defines, device->name, device->driver, cache ? cache : ""};
    return cdu_cache_key_of(parts, sizeof parts / sizeof *parts);
}

static bool is_known(const cdu_device_info *device, const cdu_compile_request *r)
{
    void *bytes;
    size_t size;
    if (!cdu_cache_load(kind, key_of(device, r), &bytes, &size)) return false;
    free(bytes);
    return true;
}

/* ---- processes ---- */

static bool take_program(const char *found, void *path)
{
    return snprintf(path, CDU_PATH_LIMIT, "%s", found) < CDU_PATH_LIMIT && !access(found, X_OK);
}

/* CDUNET_COMPILE names it, or "off"; else it is looked for beside this code and where an installation of it lies. */
static bool find_program(char path[CDU_PATH_LIMIT])
{
    static const char *const folders[] = {"", "../", "../libexec/cdunet/", "../../libexec/cdunet/", NULL};
    const char *given = getenv("CDUNET_COMPILE");
    return given && *given ? take_program(given, path) : cdu_host_beside(program, folders, take_program, path);
}

static bool start(process *p, const char *path)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)) return false;
    posix_spawn_file_actions_t actions;
    char name[sizeof program], *words[] = {name, NULL};
    memcpy(name, program, sizeof program);
    bool good = !posix_spawn_file_actions_init(&actions);
    if (good) {
        good = !posix_spawn_file_actions_adddup2(&actions, pair[1], 0) && !posix_spawn_file_actions_adddup2(&actions, 2, 1) &&
               !posix_spawn(&p->pid, path, &actions, NULL, words, environ);
        posix_spawn_file_actions_destroy(&actions);
    }
    close(pair[1]);
    p->socket = pair[0];
    if (!good) close(pair[0]);
    return good;
}

static uint32_t wanted(const cdu_gpu *gpu, const cdu_compile_request *requests, size_t count)
{
    uint64_t largest = 1, free_bytes = 0;
    uint32_t unknown = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t bytes = 0;
        for (uint32_t b = 0; b < requests[i].uses; b++) bytes += requests[i].size[b];
        if (bytes > largest) largest = bytes;
        unknown += !is_known(&gpu->info, &requests[i]);
    }
    uint32_t processes = cdu_processors();
    if (processes > PROCESSES) processes = PROCESSES;
    if (processes > unknown / WORTH_A_PROCESS) processes = unknown / WORTH_A_PROCESS;
    if (gpu->backend->budget(gpu->device, &free_bytes, NULL) == CDU_OK && free_bytes && processes > free_bytes / SHARE_OF_FREE / largest)
        processes = (uint32_t)(free_bytes / SHARE_OF_FREE / largest);
    return processes;
}

cdu_compilers *cdu_compilers_start(const cdu_gpu *gpu, const cdu_compile_request *requests, size_t count)
{
    char path[CDU_PATH_LIMIT];
    cdu_compilers *c;
    const char *folder = getenv("CDUNET_CACHE");
    if (!(gpu->info.features & CDU_HAS_ONE_COMPILER) || cdu_debug(CDU_DEBUG_NO_CACHE) || (folder && !strcmp(folder, "off"))) return NULL;
    uint32_t processes = wanted(gpu, requests, count);
    if (processes < 2 || !find_program(path) || cdu_allocate(&c, 1, sizeof *c, NULL) != CDU_OK) return NULL;
    c->device = gpu->info;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->freed, NULL);
    while (c->count < processes && start(&c->of[c->count], path)) c->count++;
    cdu_log(CDU_LOG_DEBUG, "%s: %u processes compile kernels", gpu->id, c->count);
    return c;
}

static bool talk(process *p, const cdu_compile_request *request)
{
    const char *at = (const char *)request;
    for (size_t left = sizeof *request; left;) {
        ssize_t sent = send(p->socket, at + (sizeof *request - left), left, MSG_NOSIGNAL);
        if (sent <= 0) return false;
        left -= (size_t)sent;
    }
    struct pollfd one = {.fd = p->socket, .events = POLLIN};
    char answer = 0;
    return poll(&one, 1, LONGEST_MS) == 1 && recv(p->socket, &answer, 1, 0) == 1 && answer;
}

/* One that nobody uses; null where all are dead. */
static process *take(cdu_compilers *c)
{
    process *found = NULL;
    pthread_mutex_lock(&c->lock);
    for (bool alive = true; !found && alive;) {
        alive = false;
        for (uint32_t i = 0; i < c->count && !found; i++) {
            alive = alive || !c->of[i].dead;
            if (!c->of[i].dead && !c->of[i].busy) found = &c->of[i];
        }
        if (!found && alive) pthread_cond_wait(&c->freed, &c->lock);
    }
    if (found) found->busy = true;
    pthread_mutex_unlock(&c->lock);
    return found;
}

bool cdu_compilers_ask(cdu_compilers *c, const cdu_compile_request *request)
{
    if (!c || is_known(&c->device, request)) return false;
    process *p = take(c);
    if (!p) return false;
    cdu_cache_key key = key_of(&c->device, request);
    int lock = cdu_cache_lock(key);
    bool known = is_known(&c->device, request), compiled = known || talk(p, request);   /* known: by another process, in the meantime */
    if (compiled && !known) cdu_cache_store(kind, key, "1", 1);
    cdu_cache_unlock(lock);
    pthread_mutex_lock(&c->lock);
    p->busy = false;
    p->dead = !compiled;        /* whatever went wrong: this process says what, in words, when it compiles the kernel itself */
    pthread_cond_broadcast(&c->freed);
    pthread_mutex_unlock(&c->lock);
    return compiled && !known;
}

void cdu_compilers_stop(cdu_compilers *c)
{
    if (!c) return;
    for (uint32_t i = 0; i < c->count; i++) {
        close(c->of[i].socket);
        if (c->of[i].dead) kill(c->of[i].pid, SIGKILL);
    }
    for (uint32_t i = 0; i < c->count; i++) waitpid(c->of[i].pid, NULL, 0);
    pthread_cond_destroy(&c->freed);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

/* ---- the other side ---- */

static cdu_status run_once(const cdu_gpu *gpu, const cdu_compile_request *r, cdu_kernel *kernel, cdu_buffer **buffers, cdu_error *error)
{
    cdu_step step = {.kind = CDU_STEP_KERNEL, .kernel = kernel, .bindings = r->uses, .params = r->params};
    step.label = r->kernel;
    memcpy(step.param, r->param, sizeof step.param);
    memcpy(step.groups, r->groups, sizeof step.groups);
    for (uint32_t b = 0; b < r->uses; b++) {
        CDU_TRY(gpu->backend->buffer_create(gpu->device, r->size[b], CDU_MEM_DEVICE, &buffers[b], error));
        step.bind[b] = (cdu_binding){.buffer = buffers[b], .bytes = r->size[b], .access = r->access[b]};
    }
    return cdu_gpu_run_step(gpu, &step, error);
}

static cdu_status compile(const cdu_gpu *gpu, const cdu_compile_request *r, cdu_error *error)
{
    const char *text;
    cdu_kernel *kernel;
    cdu_buffer *buffers[CDU_BINDINGS] = {NULL};
    CDU_TRY(cdu_shader_text(r->source, &text, error));
    CDU_TRY(gpu->backend->kernel_create(gpu->device, text, r->kernel, r->defines, r->uses, r->params, r->subgroup, &kernel, NULL, error));
    cdu_status status = run_once(gpu, r, kernel, buffers, error);
    for (uint32_t b = 0; b < r->uses; b++)
        if (buffers[b]) gpu->backend->buffer_destroy(buffers[b]);
    gpu->backend->kernel_destroy(kernel);
    return status;
}

/* A kernel that never ends, or a compiler that does not, must not outlive the process that asked. */
static void *end_with_the_other_side(void *argument)
{
    struct pollfd one = {.fd = *(const int *)argument, .events = POLLRDHUP};
    while (poll(&one, 1, -1) < 0 || !(one.revents & (POLLRDHUP | POLLHUP | POLLERR))) {}
    kill(getpid(), SIGKILL);        /* it has nothing to save, and may not come back from the driver */
    return NULL;
}

void cdu_compilers_serve(int socket)
{
    pthread_t watch;
    if (pthread_create(&watch, NULL, end_with_the_other_side, &socket)) return;
    cdu_compile_request r;
    cdu_gpu gpu;
    cdu_error error = {0};
    bool open = false;
    signal(SIGINT, SIG_IGN);    /* Ctrl-C reaches all processes of a terminal; the one that asks decides when this one ends */
    while (recv(socket, &r, sizeof r, MSG_WAITALL) == (ssize_t)sizeof r && r.bytes == sizeof r && r.uses <= CDU_BINDINGS) {
        cdu_status status = CDU_OK;
        if (!open) status = cdu_gpu_open(r.device, false, true, &gpu, &error);
        open = open || status == CDU_OK;
        if (status == CDU_OK) status = compile(&gpu, &r, &error);
        if (status != CDU_OK) cdu_log(CDU_LOG_DEBUG, "%s: %s", r.kernel, error.words);
        char answer = status == CDU_OK;
        if (send(socket, &answer, 1, MSG_NOSIGNAL) != 1) break;
    }
    if (open) cdu_gpu_close(&gpu);
}
