/* run.c: one row on one device: build the graph, give it numbers, run it, compare everything with the double-precision loops. */
#include "ops/run.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/debug.h"

void cdu_op_fail(cdu_op_failures *f, const char *format, ...)
{
    size_t used = strlen(f->text);
    va_list arguments;
    va_start(arguments, format);
    if (used + 2 < sizeof f->text) {
        int n = vsnprintf(f->text + used, sizeof f->text - used - 1, format, arguments);
        used += n > 0 ? (size_t)n : 0;
        if (used > sizeof f->text - 2) used = sizeof f->text - 2;
        f->text[used] = '\n';
        f->text[used + 1] = '\0';
    }
    va_end(arguments);
    f->count++;
}

bool cdu_op_is_null(const cdu_gpu *gpu)
{
    return !strcmp(gpu->backend->name, "null");
}

const cdu_op_devices *cdu_op_devices_open(void)
{
    static cdu_op_devices all;
    if (all.count) return &all;
    cdu_error error = {0};
    cdu_device_row *rows = NULL;
    uint32_t count = 0;
    if (cdu_debug_load(&error) != CDU_OK) fprintf(stderr, "%s\n", error.words);
    if (cdu_devices_list(false, &rows, &count, NULL, 0, &error) != CDU_OK) fprintf(stderr, "devices: %s\n", error.words);
    const char *only = getenv("CDUNET_TEST_DEVICE");
    for (uint32_t i = 0; i < count && all.count < 15; i++) {
        if ((only && strcmp(only, rows[i].id)) || !strncmp(rows[i].id, "null", 4)) continue;
        if (cdu_gpu_open(rows[i].id, false, true, &all.gpu[all.count], &error) == CDU_OK) all.count++;
        else fprintf(stderr, "%s: %s\n", rows[i].id, error.words);
    }
    free(rows);
    const char *vendor = getenv("CDUNET_TEST_AS_CARD");
    for (uint32_t i = 0; i < all.count && vendor; i++) { /* what operators choose for a vendor's large card */
        cdu_device_info *info = &all.gpu[i].info;
        info->kind = CDU_DISCRETE;
        info->vector_width = 4;
        info->compute_units = 132;
        snprintf(info->vendor, sizeof info->vendor, "%s", vendor);
    }
    static const char *const nulls[] = {"null:0", "null:1"};
    for (int i = 0; i < 2; i++)
        if ((!only || !strcmp(only, nulls[i])) && cdu_gpu_open(nulls[i], false, true, &all.gpu[all.count], &error) == CDU_OK) all.count++;
    return &all;
}

/* ---- comparing ---- */

typedef struct { const cdu_gpu *gpu; const cdu_op_row *row; cdu_op_variant variant; cdu_op_failures *failures; bool approximate; } place;

/* Of Winograd's results, as conv_variant.h states it: its bound element by element is far above what it does. */
static const double normwise = 5e-6;

static void compare(const place *p, const cdu_op_array *a, const char *what, const float *got, const double *expected,
                    const double *slack, double factor)
{
    uint64_t wrong = 0, at = 0;
    double worst = 0, error_squares = 0, squares = 0;
    for (uint64_t i = 0; i < a->count; i++) {
        error_squares += ((double)got[i] - expected[i]) * ((double)got[i] - expected[i]);
        squares += expected[i] * expected[i];
        double distance = fabs((double)got[i] - expected[i]), allowed = slack[i] * factor;
        bool same = isnan(expected[i]) ? isnan(got[i]) : (double)got[i] == expected[i] || distance <= allowed;
        if (same) continue;
        double ratio = distance / (allowed > 0 ? allowed : 1e-300);
        if (!wrong++ || !(ratio <= worst)) {
            worst = ratio;
            at = i;
        }
    }
    if (p->approximate && !(sqrt(error_squares) <= normwise * sqrt(squares)))
        cdu_op_fail(p->failures, "%s on %s: %s of '%s' is off by %.3g of its norm, allowed %.3g", p->row->name, p->gpu->id, what, a->name,
                    sqrt(error_squares / squares), normwise);
    if (!wrong) return;
    uint64_t c = at % a->dims[3], x = at / a->dims[3] % a->dims[2], y = at / a->dims[3] / a->dims[2] % a->dims[1];
    cdu_op_fail(p->failures,
                "%s on %s (%s)%s%s%s%s%s: %s of '%s' (%u x %u x %u x %u): %llu of %llu differ; worst at (%llu, %llu, %llu, %llu): "
                "got %.9g, "
                "expected %.12g, off by %.3g, allowed %.3g",
                p->row->name, p->gpu->id, p->gpu->info.name, p->variant.slice ? ", slices" : "",
                p->variant.exact ? ", integers" : "", p->variant.ranges ? ", ranges" : "", p->variant.view ? ", views" : "",
                p->variant.relay ? ", relayed" : "", what, a->name, a->dims[0], a->dims[1], a->dims[2], a->dims[3],
                (unsigned long long)wrong, (unsigned long long)a->count,
                (unsigned long long)(at / a->dims[3] / a->dims[2] / a->dims[1]), (unsigned long long)y, (unsigned long long)x,
                (unsigned long long)c, (double)got[at], expected[at], fabs((double)got[at] - expected[at]), slack[at] * factor);
}

static void compare_words(const place *p, const cdu_op_array *a, const uint32_t *got)
{
    for (uint64_t i = 0; i < a->count; i++) {
        if (got[i] == a->u[i]) continue;
        cdu_op_fail(p->failures, "%s on %s: '%s' word %llu is %u, expected %u", p->row->name, p->gpu->id, a->name,
                    (unsigned long long)i, got[i], a->u[i]);
        return;
    }
}

/* ---- one case ---- */

typedef struct {
    place at;
    cdu_graph *graph;
    cdu_program *program;
    cdu_value in[CDU_NODE_INPUTS], out[2], joined;  /* out: the operator once, or twice for slices */
    cdu_value sink[CDU_NODE_INPUTS];                /* what else reads a view; its gradient is zero */
    uint32_t sinks;
    cdu_op_data data[2];
    uint32_t copies;
    float *read;                /* everything read back, one after another */
    uint64_t used, capacity;
} op_case;

static bool differentiable(const cdu_op_row *row, uint32_t input)
{
    return row->backward && row->input[input].storage == CDU_F32 && !row->input[input].constant;
}

/* For each input that has a gradient: a second part and a reader of the whole concatenation, whose weights and gradient are zero. */
static void add_sinks(op_case *c, const cdu_value *relayed)
{
    for (uint32_t i = 0; i < CDU_NODE_INPUTS && c->at.row->input[i].shape.n; i++) {
        if (relayed[i] == c->in[i]) continue;
        char name[3][16];
        snprintf(name[0], sizeof name[0], "other%u", i);
        snprintf(name[1], sizeof name[1], "pair%u", i);
        snprintf(name[2], sizeof name[2], "sink%u", i);
        cdu_value other = cdu_conv(c->graph, name[0], c->in[i], 1, 3, CDU_EPILOGUE_NONE);
        cdu_value pair = cdu_graph_concat(c->graph, name[1], other, relayed[i]);
        c->sink[c->sinks++] = cdu_conv(c->graph, name[2], pair, 1, 2, CDU_EPILOGUE_NONE);
        cdu_graph_seed(c->graph, c->sink[c->sinks - 1]);
    }
}

static cdu_status build(op_case *c, cdu_error *error)
{
    cdu_value relayed[CDU_NODE_INPUTS];
    const cdu_op_row *row = c->at.row;
    CDU_TRY(cdu_graph_create(&c->graph, error));
    for (uint32_t i = 0; i < CDU_NODE_INPUTS && row->input[i].shape.n; i++) {
        char name[16];
        snprintf(name, sizeof name, "input%u", i);
        c->in[i] = cdu_graph_input(c->graph, name, row->input[i].shape, row->input[i].storage);
        if (differentiable(row, i)) cdu_graph_want_gradient(c->graph, c->in[i]);
        if (differentiable(row, i)) cdu_graph_output_gradient(c->graph, c->in[i]);
        relayed[i] = c->in[i];
        if (!differentiable(row, i) || !(c->at.variant.view || c->at.variant.relay)) continue;
        snprintf(name, sizeof name, "relay%u", i);
        relayed[i] = cdu_conv(c->graph, name, c->in[i], 1, row->input[i].shape.c, CDU_EPILOGUE_NONE);
    }
    c->copies = c->at.variant.slice ? 2 : 1;
    for (uint32_t k = 0; k < c->copies; k++) c->out[k] = row->build(c->graph, row, k ? "second" : "first", relayed);
    if (c->at.variant.view) add_sinks(c, relayed);
    CDU_TRY(cdu_graph_status(c->graph, error));
    c->joined = c->copies == 2 ? cdu_graph_concat(c->graph, "joined", c->out[0], c->out[1]) : c->out[0];
    CDU_TRY(cdu_graph_status(c->graph, error));
    const cdu_node *node = cdu_graph_node(c->graph, (uint32_t)cdu_graph_value(c->graph, c->out[0])->node);
    cdu_graph_output(c->graph, c->joined);
    for (uint32_t i = 1; i < node->outputs; i++) cdu_graph_output(c->graph, node->output[i]);
    if (row->backward && !row->own_loss) cdu_graph_seed(c->graph, c->joined);
    return cdu_graph_status(c->graph, error);
}

static float *room(op_case *c, uint64_t count)
{
    if (c->used + count > c->capacity) {
        c->capacity = (c->used + count) * 2;
        c->read = realloc(c->read, c->capacity * sizeof(float));
        if (!c->read) abort();
    }
    c->used += count;
    return c->read + c->used - count;
}

static float *floats(const double *v, uint64_t count)
{
    float *f = malloc(count * sizeof *f);
    if (!f) abort();
    for (uint64_t i = 0; i < count; i++) f[i] = (float)v[i];
    return f;
}

static cdu_value own_value(const op_case *c, uint32_t copy, uint32_t index)
{
    return cdu_graph_find(c->graph, c->data[copy].own[index].name);
}

/* Identity weights for the relays. The rest stays zero: seeds of the sinks, all other weights. */
static cdu_status give_relays(op_case *c, cdu_error *error)
{
    cdu_status status = CDU_OK;
    for (uint32_t i = 0; i < c->data[0].ins && status == CDU_OK; i++) {
        char name[32];
        snprintf(name, sizeof name, "relay%u.weight", i);
        cdu_value weight = cdu_graph_find(c->graph, name);
        if (weight == CDU_NO_VALUE) continue;
        uint32_t channels = c->at.row->input[i].shape.c;
        float *identity = calloc((size_t)channels * channels, sizeof *identity);
        if (!identity) abort();
        for (uint32_t k = 0; k < channels; k++) identity[(size_t)k * channels + k] = 1;
        status = cdu_program_write_parameter(c->program, weight, identity, error);
        free(identity);
    }
    return status;
}

static cdu_status give(op_case *c, cdu_error *error)
{
    cdu_status status = CDU_OK;
    const cdu_op_data *d = c->data;
    for (uint32_t i = 0; i < d->ins && status == CDU_OK; i++) {
        float *f = floats(d->in[i].v, d->in[i].count);
        status = cdu_program_write(c->program, c->in[i], d->in[i].integers ? (void *)d->in[i].u : (void *)f, error);
        free(f);
    }
    for (uint32_t k = 0; k < c->copies; k++)
        for (uint32_t i = 0; i < c->data[k].owns && status == CDU_OK; i++) {
            float *f = floats(c->data[k].own[i].v, c->data[k].own[i].count);
            status = cdu_program_write_parameter(c->program, own_value(c, k, i), f, error);
            free(f);
        }
    if (status == CDU_OK) status = give_relays(c, error);
    if (status != CDU_OK || !c->at.row->backward || c->at.row->own_loss) return status;
    /* the seed: the parts' gradients side by side in channels */
    const cdu_op_array *out = &d->out[0];
    uint64_t pixels = out->count / out->dims[3];
    float *seed = malloc(out->count * c->copies * sizeof *seed);
    if (!seed) abort();
    for (uint64_t i = 0; i < pixels; i++)
        for (uint32_t k = 0; k < c->copies; k++)
            for (uint32_t ch = 0; ch < out->dims[3]; ch++)
                seed[(i * c->copies + k) * out->dims[3] + ch] = (float)c->data[k].out[0].g[i * out->dims[3] + ch];
    status = cdu_program_write_gradient(c->program, c->joined, seed, error);
    free(seed);
    return status;
}

static cdu_status check_outputs(op_case *c, bool look, cdu_error *error)
{
    const cdu_op_array *out = &c->data[0].out[0];
    uint64_t whole = out->count * c->copies;
    float *part = malloc(out->count * sizeof *part), *got = malloc(whole * sizeof *got);
    if (!part || !got) abort();
    cdu_status status = cdu_program_read(c->program, c->joined, got, error);
    for (uint32_t k = 0; k < c->copies && status == CDU_OK && look; k++) {
        for (uint64_t i = 0; i < out->count; i++)
            part[i] = got[(i / out->dims[3] * c->copies + k) * out->dims[3] + i % out->dims[3]];
        compare(&c->at, &c->data[k].out[0], "output", part, c->data[k].out[0].v, c->data[k].out[0].slack, 1);
    }
    if (status == CDU_OK) memcpy(room(c, whole), got, whole * sizeof *got);
    free(part);
    free(got);
    const cdu_node *node = cdu_graph_node(c->graph, (uint32_t)cdu_graph_value(c->graph, c->out[0])->node);
    for (uint32_t i = 1; i < c->data[0].outs && status == CDU_OK; i++) {
        const cdu_op_array *a = &c->data[0].out[i];
        float *more = room(c, a->count);
        status = cdu_program_read(c->program, node->output[i], more, error);
        if (status != CDU_OK || !look) continue;
        if (a->integers) compare_words(&c->at, a, (const uint32_t *)more);
        else compare(&c->at, a, "output", more, a->v, a->slack, 1);
    }
    return status;
}

static cdu_status check_gradients(op_case *c, bool look, cdu_error *error)
{
    for (uint32_t i = 0; i < c->data[0].ins; i++) {
        cdu_op_array *a = &c->data[0].in[i];
        if (a->integers || c->at.row->input[i].constant) continue;
        if (c->copies == 2)
            for (uint64_t e = 0; e < a->count; e++) {   /* both copies' gradients flow into it */
                a->g[e] += c->data[1].in[i].g[e];
                a->g_slack[e] += c->data[1].in[i].g_slack[e] + (c->at.variant.exact ? 0 : 2 * CDU_OP_UNIT * fabs(a->g[e]));
            }
        float *got = room(c, a->count);
        CDU_TRY(cdu_program_read_gradient(c->program, c->in[i], got, error));
        if (look) compare(&c->at, a, "gradient", got, a->g, a->g_slack, 1);
    }
    for (uint32_t k = 0; k < c->copies; k++)
        for (uint32_t i = 0; i < c->data[k].owns; i++) {
            const cdu_op_array *a = &c->data[k].own[i];
            if (a->kind != CDU_VALUE_PARAMETER) continue;
            float *got = room(c, a->count);
            CDU_TRY(cdu_program_read_gradient(c->program, own_value(c, k, i), got, error));
            if (look) compare(&c->at, a, "gradient", got, a->g, a->g_slack, 1);
        }
    return CDU_OK;
}

static cdu_status check_states(op_case *c, bool look, cdu_error *error)
{
    for (uint32_t k = 0; k < c->copies; k++)
        for (uint32_t i = 0; i < c->data[k].owns; i++) {
            const cdu_op_array *a = &c->data[k].own[i];
            if (a->kind != CDU_VALUE_STATE) continue;
            float *got = room(c, a->count);
            CDU_TRY(cdu_program_read_parameter(c->program, own_value(c, k, i), got, error));
            if (look) compare(&c->at, a, "new value", got, a->after, a->after_slack, 1);
        }
    return CDU_OK;
}

bool cdu_op_finite(const cdu_op_data *d)
{
    for (uint32_t i = 0; i < d->ins; i++)
        for (uint64_t e = 0; e < d->in[i].count; e++)
            if (!isfinite(d->in[i].v[e])) return false;
    return true;
}

static cdu_status find_approximate(op_case *c, const cdu_gpu *gpu, const cdu_plan_options *options, cdu_error *error)
{
    cdu_plan *plan;
    CDU_TRY(cdu_plan_create(c->graph, &gpu->info, options, &plan, error));
    bool found = false;
    for (uint32_t i = 0; i < cdu_plan_drafts(plan); i++) found = found || strstr(cdu_plan_draft(plan, i)->source, "winograd");
    c->at.approximate = c->data[0].approximate = c->data[1].approximate = found;
    cdu_plan_destroy(plan);
    return CDU_OK;
}

static cdu_status run_and_check(op_case *c, const cdu_gpu *gpu, cdu_error *error)
{
    const cdu_op_row *row = c->at.row;
    bool look = !cdu_op_is_null(gpu);
    cdu_plan_options options = {.training = row->backward != NULL, .exact = c->at.variant.exact};
    for (uint32_t k = 0; k < c->copies; k++) {
        cdu_op_data_make(&c->data[k], row, c->graph, c->out[k], c->at.variant.exact, 7 + k);
        for (uint32_t i = 0; i < c->data[k].ins && k; i++) {    /* the copies have one input */
            memcpy(c->data[k].in[i].v, c->data[0].in[i].v, c->data[0].in[i].count * sizeof(double));
            memcpy(c->data[k].in[i].u, c->data[0].in[i].u, c->data[0].in[i].count * sizeof(uint32_t));
        }
    }
    CDU_TRY(find_approximate(c, gpu, &options, error));
    for (uint32_t k = 0; k < c->copies; k++) {
        row->forward(row, &c->data[k]);
        if (row->backward) row->backward(row, &c->data[k]);
    }
    if ((c->at.variant.view || c->at.variant.relay) && !cdu_op_finite(&c->data[0])) return CDU_OK;    /* 0 * NaN is no identity */
    CDU_TRY(cdu_program_create(c->graph, gpu, &options, &c->program, error));
    CDU_TRY(give(c, error));
    CDU_TRY(cdu_program_run(c->program, NULL, 0, error));
    CDU_TRY(check_outputs(c, look, error));
    if (row->backward) CDU_TRY(check_gradients(c, look, error));
    return check_states(c, look, error);
}

/* The bytes of the largest tensor's image, or 0 where an image cannot begin a binding or there is only one. */
static uint64_t image_limit(const op_case *c, const cdu_device_info *device)
{
    uint64_t most = 0;
    for (uint32_t v = 0; v < cdu_graph_values(c->graph); v++) {
        const cdu_value_info *info = cdu_graph_value(c->graph, (cdu_value)v);
        if (info->rank || info->shape.n < 2) continue;
        uint32_t lanes = info->storage == CDU_U32 ? info->shape.c : cdu_channel_lanes(device, info->shape.c);
        uint64_t bytes = 4ull * info->shape.h * info->shape.w * lanes * (v == (uint32_t)c->joined ? c->copies : 1);
        if (bytes % device->binding_align) return 0;
        if (bytes > most) most = bytes;
    }
    return most;
}

bool cdu_op_run(const cdu_gpu *gpu, const cdu_op_row *row, cdu_op_variant variant, float **bytes, uint64_t *size,
                cdu_op_failures *failures)
{
    if ((variant.slice && (row->whole || row->own_loss)) || (variant.exact && !row->exact)) return false;
    if ((variant.view || variant.relay) && !row->backward) return false;
    const char *only = getenv("CDUNET_TEST_ROW");
    if (only && !strstr(row->name, only)) return false;
    op_case c = {.at = {gpu, row, variant, failures, false}};
    cdu_error error = {0};
    cdu_gpu narrow = *gpu;
    cdu_status status = build(&c, &error);
    bool ran = true;
    if (status == CDU_OK && variant.ranges) {
        narrow.info.largest_binding = image_limit(&c, &gpu->info);
        ran = narrow.info.largest_binding != 0;
    }
    if (status == CDU_OK && ran) status = run_and_check(&c, &narrow, &error);
    if (variant.ranges && status == CDU_NO_DEVICE) ran = false;     /* weights or scratch larger than an image */
    else if (status != CDU_OK) cdu_op_fail(failures, "%s on %s: %s", row->name, gpu->id, error.words);
    if (bytes) {
        *bytes = c.read;
        *size = c.used;
    } else free(c.read);
    cdu_program_destroy(c.program);
    cdu_graph_destroy(c.graph);
    for (uint32_t k = 0; k < 2; k++) cdu_op_data_free(&c.data[k]);
    return ran;
}
