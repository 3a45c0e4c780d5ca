/* support.h: what the tests of the backends share: a loop over the devices there are, buffers and runs in one line. */
#ifndef CDU_TESTS_BACKENDS_SUPPORT_H
#define CDU_TESTS_BACKENDS_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "backends/backend.h"

/* Calls `test` with every device of OpenCL and Vulkan, opened without self-test; fails the test where there is none. */
void each_device(bool timed, void (*test)(const cdu_gpu *gpu));

/* A row of a list of devices, for machines that nobody here has. */
cdu_device_row row(const char *id, const char *name, const char *driver, cdu_kind kind, const char *uuid);

/* Fails the test with the error's words where status is not CDU_OK. */
void must_(cdu_status status, const cdu_error *error, const char *what, int line);
#define must(call) must_((call), &error, #call, __LINE__)

cdu_buffer *make(const cdu_gpu *gpu, uint64_t bytes, cdu_memory kind);
void put(const cdu_gpu *gpu, cdu_buffer *buffer, const void *from, size_t bytes);
void get(const cdu_gpu *gpu, cdu_buffer *buffer, void *to, size_t bytes);
cdu_kernel *kernel(const cdu_gpu *gpu, const char *source, const char *name, const char *defines, uint32_t bindings,
                   uint32_t params);
cdu_binding part(cdu_buffer *buffer, uint64_t offset, uint64_t bytes, uint32_t access);
cdu_step copy_step(cdu_binding from, cdu_binding to, uint32_t segment);
cdu_step fill_step(cdu_binding to, uint32_t word, uint32_t segment);
/* A list of these steps; submits segment 0, waits, destroys the list. */
void run_steps(const cdu_gpu *gpu, const cdu_step *steps, uint32_t count);
/* Submits and waits until it is done. */
void submit_and_wait(const cdu_gpu *gpu, cdu_list *list, uint32_t segment, const void *patch, uint32_t bytes);

/* An empty folder in the build folder, for this test alone. */
const char *fresh_folder(void);

/* y[i] = x[i] * factor + add; groups of 32. Kernel "affine", buffers x, y, parameters count, factor, add. */
extern const char affine_source[];
uint32_t float_bits(float value);

#endif
