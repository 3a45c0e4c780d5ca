/* cmd_devices.c: `cdunet devices [--json]`: every device of every runtime, its limits, and whether it computes rightly. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backends/backend.h"
#include "cdunet/device.h"
#include "tools/commands.h"
#include "tools/options.h"

static const struct {
    uint32_t bit;
    const char *name;
} features[] = {{CDU_HAS_F16, "f16"}, {CDU_HAS_BF16, "bf16"}, {CDU_HAS_SUBGROUP_SIZE, "subgroup-size"}, {CDU_HAS_MATRIX, "matrix"},
              {CDU_HAS_BROADCAST, "broadcast"}, {CDU_HAS_ONE_COMPILER, "one-compiler"}};
enum { FEATURES = sizeof features / sizeof features[0] };

static const char *kind_name(cdu_kind kind)
{
    return kind == CDU_CPU ? "cpu" : kind == CDU_INTEGRATED ? "integrated" : "discrete";
}

static void print_row(const cdu_device_row *row)
{
    const cdu_device_info *d = &row->info;
    printf("%s  %s\n", row->id, d->name);
    printf("    vendor: %s, driver: %s\n", d->vendor, d->driver);
    printf("    kind: %s, memory: %llu MiB%s, compute units: %u, vector width: %u\n", kind_name(d->kind),
           (unsigned long long)(d->memory >> 20), d->unified ? " shared with the host" : "", d->compute_units, d->vector_width);
    printf("    limits: buffer %llu MiB, binding %llu MiB, group %u items, local memory %u KiB, offsets in %u bytes\n",
           (unsigned long long)(d->largest_buffer >> 20), (unsigned long long)(d->largest_binding >> 20), d->group_items,
           d->local_bytes >> 10, d->binding_align);
    printf("    features:");
    for (int i = 0; i < FEATURES; i++)
        if (d->features & features[i].bit) printf(" %s", features[i].name);
    printf(d->features ? "\n" : " none\n");
    if (d->uuid[0]) printf("    identity: %s\n", d->uuid);
    if (row->same_as[0]) printf("    same card as: %s\n", row->same_as);
    if (row->self_test[0]) printf("    self_test: %s\n", row->self_test);
}

static json_t *sizes(const uint32_t three[3])
{
    return json_pack("[I, I, I]", (json_int_t)three[0], (json_int_t)three[1], (json_int_t)three[2]);
}

static json_t *row_object(const cdu_device_row *row)
{
    const cdu_device_info *d = &row->info;
    json_t *names = json_array();
    for (int i = 0; i < FEATURES; i++)
        if (d->features & features[i].bit) json_array_append_new(names, json_string(features[i].name));
    json_t *limits =
        json_pack("{s:I, s:I, s:I, s:I, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I}", "largest_buffer", (json_int_t)d->largest_buffer,
                  "largest_binding", (json_int_t)d->largest_binding, "binding_align", (json_int_t)d->binding_align, "group_items",
                  (json_int_t)d->group_items, "group_size", sizes(d->group_size), "group_count", sizes(d->group_count),
                  "local_bytes", (json_int_t)d->local_bytes, "subgroup_min", (json_int_t)d->subgroup_min, "subgroup_max",
                  (json_int_t)d->subgroup_max, "compute_units", (json_int_t)d->compute_units, "vector_width",
                  (json_int_t)d->vector_width, "segment_ms", (json_int_t)d->segment_ms);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:I, s:o, s:o, s:s, s:s, s:s}", "id", row->id, "name", d->name, "vendor",
                     d->vendor, "driver", d->driver, "kind", kind_name(d->kind), "unified", d->unified, "memory",
                     (json_int_t)d->memory, "limits", limits, "features", names, "identity", d->uuid, "same_as", row->same_as,
                     "self_test", row->self_test);
}

static cdu_status print_json(const cdu_device_row *rows, uint32_t count, const char *missing, cdu_error *error)
{
    json_t *list = json_array(), *absent = json_array();
    for (uint32_t i = 0; i < count; i++) json_array_append_new(list, row_object(&rows[i]));
    for (const char *line = missing; *line;) {
        size_t length = strcspn(line, "\n");
        json_array_append_new(absent, json_stringn(line, length));
        line += length + (line[length] == '\n');
    }
    bool whole = json_array_size(list) == count;
    json_t *root = json_pack("{s:o, s:o}", "devices", list, "missing", absent);
    char *text = root && whole ? json_dumps(root, JSON_INDENT(2)) : NULL;
    json_decref(root);
    if (!text) return cdu_fail(error, CDU_FAILED, "a device's name or driver is no UTF-8 and cannot be written as JSON");
    puts(text);
    free(text);
    return CDU_OK;
}

cdu_status cmd_devices(int argc, char **argv, cdu_error *error)
{
    bool json = false, untested = false, done = false;
    const cdu_option options[] = {
        {.name = "json", .type = CDU_OPTION_FLAG, .value = &json, .help = "print JSON"},
        {.name = "no-test", .type = CDU_OPTION_FLAG, .value = &untested, .help = "do not open the devices to test them"},
        {0}};
    const cdu_usage usage = {
        "devices", "lists devices, their limits and whether they compute rightly",
        "A device is named by its id (opencl:0), by a part of its name, or as \"auto\": the first discrete GPU, else an\n"
        "integrated one, else a CPU. null:0 checks and computes nothing; it is never listed nor chosen.",
        options, NULL};
    CDU_TRY(cdu_options_parse(&usage, argc, argv, &done, error));
    if (done) return CDU_OK;
    cdu_device_row *rows = NULL;
    uint32_t count = 0;
    char missing[2048];
    CDU_TRY(cdu_devices_list(!untested, &rows, &count, missing, sizeof missing, error));
    cdu_status status = CDU_OK;
    if (json) {
        status = print_json(rows, count, missing, error);
    } else {
        for (uint32_t i = 0; i < count; i++) print_row(&rows[i]);
        if (!count) printf("no device: install an OpenCL or Vulkan driver (Debian, without a GPU: pocl-opencl-icd)\n");
        if (missing[0]) printf("%s\n", missing);
    }
    free(rows);
    return status;
}
