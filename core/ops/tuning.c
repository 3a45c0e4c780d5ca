/* tuning.c: tune packs as JSON, and those of the devices in use. */
#include "core/ops/tuning.h"

#include <ctype.h>
#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cdunet/log.h"
#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/graph/plan.h"

enum { PACK_LIMIT = 4 << 20, ENTRIES_LIMIT = 4096, SIDE_LIMIT = 1 << 16, LANES_LIMIT = 1 << 14 };
/* An entry serves up to 16 times its pixels, which are more of the same, but not less than a quarter: too few groups for its tiles. */
static const double MOST_PIXELS = 16, LEAST_PIXELS = 4;
static const char format[] = "cdunet tune pack 1";
static const char again[] = "; make a new one with 'cdunet-bench tune'";

/* ---- text ---- */

static const char *const pass_names[] = {"sum", "gradient"};

/* The numbers of a problem, by name. */
static const struct { const char *name; size_t at; uint32_t most; } numbers[] = {
    {"side", offsetof(cdu_conv_problem, side), 16},
    {"stride", offsetof(cdu_conv_problem, stride), 16},
    {"parities", offsetof(cdu_conv_problem, parities), 4},
    {"n", offsetof(cdu_conv_problem, n), SIDE_LIMIT},
    {"h", offsetof(cdu_conv_problem, h), SIDE_LIMIT},
    {"w", offsetof(cdu_conv_problem, w), SIDE_LIMIT},
    {"in_lanes", offsetof(cdu_conv_problem, in_lanes), LANES_LIMIT},
    {"out_lanes", offsetof(cdu_conv_problem, out_lanes), LANES_LIMIT},
};
enum { NUMBERS = sizeof numbers / sizeof numbers[0] };

static uint32_t *number_of(cdu_conv_problem *problem, int i)
{
    return (uint32_t *)(void *)((char *)problem + numbers[i].at);
}

static uint32_t number_in(const cdu_conv_problem *problem, int i)
{
    cdu_conv_problem copy = *problem;
    return *number_of(&copy, i);
}

static bool same_problem(const cdu_conv_problem *a, const cdu_conv_problem *b)
{
    for (int i = 0; i < NUMBERS; i++)
        if (number_in(a, i) != number_in(b, i)) return false;
    return a->pass == b->pass;
}

cdu_status cdu_tune_add(cdu_tune_pack *pack, const cdu_tune_entry *entry, cdu_error *error)
{
    CDU_TRY(cdu_grow(&pack->entries, &pack->capacity, pack->count + 1, sizeof *entry, error));
    pack->entries[pack->count++] = *entry;
    return CDU_OK;
}

cdu_status cdu_tune_refuse(cdu_tune_pack *pack, const char *choice, const char *why, cdu_error *error)
{
    CDU_TRY(cdu_grow(&pack->refusals, &pack->refusal_capacity, pack->refused + 1, sizeof *pack->refusals, error));
    cdu_tune_refusal *refusal = &pack->refusals[pack->refused++];
    snprintf(refusal->choice, sizeof refusal->choice, "%s", choice);
    snprintf(refusal->why, sizeof refusal->why, "%s", why);
    return CDU_OK;
}

void cdu_tune_free(cdu_tune_pack *pack)
{
    free(pack->entries);
    free(pack->refusals);
    *pack = (cdu_tune_pack){0};
}

static bool whole_number(const json_t *object, const char *key, uint32_t least, uint32_t most, uint32_t *out)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value) || json_integer_value(value) < least || json_integer_value(value) > most) return false;
    *out = (uint32_t)json_integer_value(value);
    return true;
}

/* Settings by name, so that a pack outlives a variant that gets another one; *known: this version has the variant and all of them. */
static bool parse_settings(const json_t *settings, cdu_choice *choice, bool *known)
{
    const cdu_conv_variant *variant = cdu_conv_variant_named(choice->variant);
    const char *key;
    json_t *value;
    *known = variant != NULL;
    if (!settings) return true;
    if (!json_is_object(settings)) return false;
    json_object_foreach((json_t *)(uintptr_t)settings, key, value)
    {
        int i = 0;
        while (variant && i < CDU_SETTINGS && variant->setting[i] && strcmp(variant->setting[i], key)) i++;
        bool found = variant && i < CDU_SETTINGS && variant->setting[i];
        if (!json_is_integer(value) || json_integer_value(value) < 0 || json_integer_value(value) > CDU_SETTING_LIMIT) return false;
        if (found) choice->setting[i] = (uint32_t)json_integer_value(value);
        *known = *known && found;
    }
    return true;
}

/* Null, or what is wrong. */
static const char *parse_entry(const json_t *row, cdu_tune_entry *entry, bool *known)
{
    const char *pass = json_string_value(json_object_get(row, "pass")), *variant = json_string_value(json_object_get(row, "variant"));
    const json_t *share = json_object_get(row, "share");
    if (!pass || (strcmp(pass, pass_names[0]) && strcmp(pass, pass_names[1]))) return "its pass is neither sum nor gradient";
    entry->problem.pass = strcmp(pass, pass_names[0]) ? CDU_CONV_GRADIENT : CDU_CONV_SUM;
    for (int i = 0; i < NUMBERS; i++)
        if (!whole_number(row, numbers[i].name, 1, numbers[i].most, number_of(&entry->problem, i))) return numbers[i].name;
    if (!variant || !*variant || strlen(variant) >= sizeof entry->choice.variant) return "variant";
    snprintf(entry->choice.variant, sizeof entry->choice.variant, "%s", variant);
    if (!parse_settings(json_object_get(row, "settings"), &entry->choice, known)) return "settings";
    if (share && !json_is_number(share)) return "share";
    entry->share = json_number_value(share);
    return NULL;
}

static cdu_status parse_entries(const char *name, const json_t *list, cdu_tune_pack *pack, cdu_error *error)
{
    if (!json_is_array(list) || json_array_size(list) > ENTRIES_LIMIT)
        return cdu_fail(error, CDU_BAD_DATA, "%s: a damaged tune pack: \"convolutions\" is missing or no list%s", name, again);
    for (size_t i = 0; i < json_array_size(list); i++) {
        cdu_tune_entry entry = {0};
        bool known = false;
        const char *wrong = parse_entry(json_array_get(list, i), &entry, &known);
        if (wrong)
            return cdu_fail(error, CDU_BAD_DATA, "%s: a damaged tune pack: entry %zu of \"convolutions\": %s%s", name, i + 1, wrong, again);
        for (size_t k = 0; k < pack->count; k++)
            if (same_problem(&pack->entries[k].problem, &entry.problem))
                return cdu_fail(error, CDU_BAD_DATA, "%s: a damaged tune pack: entry %zu of \"convolutions\" stands there twice%s", name,
                                i + 1, again);
        if (known) CDU_TRY(cdu_tune_add(pack, &entry, error));
        else pack->unknown++;
    }
    return CDU_OK;
}

static bool parse_text(const json_t *root, const char *key, char *out, size_t size)
{
    const char *text = json_string_value(json_object_get(root, key));
    if (!text || !*text || strlen(text) >= size) return false;
    snprintf(out, size, "%s", text);
    return true;
}

cdu_status cdu_tune_parse(const char *name, const char *text, size_t size, cdu_tune_pack *out, cdu_error *error)
{
    *out = (cdu_tune_pack){0};
    json_error_t fault;
    json_t *root = json_loadb(text, size, JSON_REJECT_DUPLICATES, &fault);
    if (!root) return cdu_fail(error, CDU_BAD_DATA, "%s:%d: a damaged tune pack: %s%s", name, fault.line, fault.text, again);
    const char *is = json_string_value(json_object_get(root, "format"));
    cdu_status status = CDU_OK;
    if (!is || strcmp(is, format))
        status = cdu_fail(error, CDU_BAD_DATA, "%s: no tune pack of this version: \"format\" is not \"%s\"%s", name, format, again);
    else if (!parse_text(root, "device", out->device, sizeof out->device) || !parse_text(root, "driver", out->driver, sizeof out->driver) ||
             !whole_number(root, "vector_width", 1, 64, &out->vector_width))
        status = cdu_fail(error, CDU_BAD_DATA, "%s: a damaged tune pack: \"device\", \"driver\" or \"vector_width\" is missing%s", name, again);
    else
        status = parse_entries(name, json_object_get(root, "convolutions"), out, error);
    json_decref(root);
    return status;
}

cdu_status cdu_tune_read(const char *path, cdu_tune_pack *out, cdu_error *error)
{
    char *text = NULL;
    size_t size = 0;
    *out = (cdu_tune_pack){0};
    CDU_TRY(cdu_file_read(path, PACK_LIMIT, &text, &size, error));
    cdu_status status = cdu_tune_parse(path, text, size, out, error);
    free(text);
    return status;
}

static int by_problem(const void *a, const void *b)
{
    const cdu_tune_entry *x = a, *y = b;
    if (x->problem.pass != y->problem.pass) return x->problem.pass < y->problem.pass ? -1 : 1;
    for (int i = 0; i < NUMBERS; i++) {
        uint32_t p = number_in(&x->problem, i), q = number_in(&y->problem, i);
        if (p != q) return p < q ? -1 : 1;
    }
    return 0;
}

static void print_entry(FILE *file, const cdu_tune_entry *entry)
{
    const cdu_conv_variant *variant = cdu_conv_variant_named(entry->choice.variant);
    fprintf(file, "    {\"pass\": \"%s\"", pass_names[entry->problem.pass]);
    for (int i = 0; i < NUMBERS; i++) fprintf(file, ", \"%s\": %u", numbers[i].name, number_in(&entry->problem, i));
    fprintf(file, ", \"variant\": \"%s\", \"settings\": {", entry->choice.variant);
    bool any = false;
    for (int i = 0; variant && i < CDU_SETTINGS && variant->setting[i]; i++) {
        if (!entry->choice.setting[i]) continue;
        fprintf(file, "%s\"%s\": %u", any ? ", " : "", variant->setting[i], entry->choice.setting[i]);
        any = true;
    }
    fprintf(file, "}, \"share\": %.3f}", entry->share);
}

static cdu_status print_text(FILE *file, const char *before, const char *text, const char *behind, cdu_error *error)
{
    json_t *string = json_stringn_nocheck(text, strlen(text));
    char *quoted = string ? json_dumps(string, JSON_ENCODE_ANY) : NULL;
    fprintf(file, "%s%s%s", before, quoted ? quoted : "\"?\"", behind);
    bool good = quoted != NULL;
    free(quoted);
    json_decref(string);
    return good ? CDU_OK : cdu_fail(error, CDU_TRY_AGAIN, "no memory for the text of a tune pack");
}

/* An entry is a line. */
static cdu_status print_pack(FILE *file, const cdu_tune_pack *pack, cdu_error *error)
{
    fprintf(file, "{\n  \"format\": \"%s\",\n", format);
    CDU_TRY(print_text(file, "  \"device\": ", pack->device, ",\n", error));
    CDU_TRY(print_text(file, "  \"driver\": ", pack->driver, ",\n", error));
    fprintf(file, "  \"vector_width\": %u,\n  \"convolutions\": [", pack->vector_width);
    for (size_t i = 0; i < pack->count; i++) {
        fprintf(file, "%s\n", i ? "," : "");
        print_entry(file, &pack->entries[i]);
    }
    fprintf(file, "\n  ],\n  \"refused\": [");
    for (size_t i = 0; i < pack->refused; i++) {
        CDU_TRY(print_text(file, i ? ",\n    {\"choice\": " : "\n    {\"choice\": ", pack->refusals[i].choice, ", ", error));
        CDU_TRY(print_text(file, "\"why\": ", pack->refusals[i].why, "}", error));
    }
    fprintf(file, "\n  ]\n}\n");
    return CDU_OK;
}

cdu_status cdu_tune_write(const char *path, cdu_tune_pack *pack, cdu_error *error)
{
    char *text = NULL;
    size_t size = 0;
    if (pack->count) qsort(pack->entries, pack->count, sizeof *pack->entries, by_problem);
    FILE *file = open_memstream(&text, &size);
    if (!file) return cdu_fail(error, CDU_TRY_AGAIN, "no memory for the text of a tune pack");
    cdu_status status = print_pack(file, pack, error);
    if (fclose(file) && status == CDU_OK) status = cdu_fail(error, CDU_TRY_AGAIN, "no memory for the text of a tune pack");
    if (status == CDU_OK) status = cdu_file_write(path, text, size, error);
    free(text);
    return status;
}

const cdu_tune_entry *cdu_tune_nearest(const cdu_tune_pack *pack, const cdu_conv_problem *p)
{
    const cdu_tune_entry *best = NULL;
    double nearest = MOST_PIXELS, pixels = (double)p->n * p->h * p->w;
    for (size_t i = 0; i < pack->count; i++) {
        const cdu_conv_problem *q = &pack->entries[i].problem;
        if (same_problem(p, q)) return &pack->entries[i];
        if (p->pass != q->pass || p->side != q->side || p->stride != q->stride || p->parities != q->parities ||
            p->in_lanes != q->in_lanes || p->out_lanes != q->out_lanes)
            continue;
        double other = (double)q->n * q->h * q->w, ratio = other > pixels ? other / pixels : pixels / other;
        if (ratio > nearest || (best && ratio == nearest) || other > LEAST_PIXELS * pixels) continue;
        nearest = ratio;
        best = &pack->entries[i];
    }
    return best;
}

/* ---- places ---- */

static char place_given[CDU_PATH_LIMIT];

void cdu_tune_place(const char *place)
{
    snprintf(place_given, sizeof place_given, "%s", place ? place : "");
}

static void append_slug(char *out, size_t size, const char *text)
{
    size_t used = strlen(out);
    for (; *text && used + 2 < size; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 128 && isalnum(c)) out[used++] = (char)tolower(c);
        else if (used && out[used - 1] != '-') out[used++] = '-';
    }
    out[used] = 0;
}

void cdu_tune_file_name(const cdu_device_info *device, char out[CDU_TUNE_NAME])
{
    enum { HALF = (CDU_TUNE_NAME - 8) / 2 };
    char name[HALF] = "", driver[HALF] = "";
    append_slug(name, sizeof name, device->name);
    append_slug(driver, sizeof driver, device->driver);
    snprintf(out, CDU_TUNE_NAME, "%s-%s", name, driver);
    for (size_t length = strlen(out); length && out[length - 1] == '-'; length--) out[length - 1] = 0;
    snprintf(out + strlen(out), CDU_TUNE_NAME - strlen(out), ".json");
}

cdu_status cdu_tune_user_folder(char out[], size_t size, cdu_error *error)
{
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    int used;
    if (data && *data == '/') used = snprintf(out, size, "%s/cdunet/tune", data);
    else if (home && *home) used = snprintf(out, size, "%s/.local/share/cdunet/tune", home);
    else return cdu_fail(error, CDU_USAGE, "there is no folder for tune packs: neither XDG_DATA_HOME nor HOME is set");
    return used > 0 && (size_t)used < size ? CDU_OK : cdu_fail(error, CDU_USAGE, "the path of the folder for tune packs is too long");
}

static bool is_folder(const char *path)
{
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

static bool there(const char *folder, const char *name, char path[CDU_PATH_LIMIT])
{
    return cdu_path_join(path, folder, name, NULL) == CDU_OK && cdu_file_exists(path);
}

/* share/cdunet/tune of the prefix that the program is installed in, wherever that was moved to. */
static bool beside_program(char folder[CDU_PATH_LIMIT])
{
    char program[CDU_PATH_LIMIT];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length <= 0) return false;
    program[length] = 0;
    char *slash = strrchr(program, '/');
    if (!slash) return false;
    *slash = 0;
    return snprintf(folder, CDU_PATH_LIMIT, "%s/../share/cdunet/tune", program) < CDU_PATH_LIMIT;
}

/* The file of the device's pack, if there is one. *named: the user gave its place. */
static bool find_file(const cdu_device_info *device, char path[CDU_PATH_LIMIT], bool *named)
{
    char name[CDU_TUNE_NAME], folder[CDU_PATH_LIMIT];
    const char *variable = getenv("CDUNET_TUNE"), *given = place_given[0] ? place_given : variable;
    cdu_tune_file_name(device, name);
    *named = given && *given;
    if (*named && !strcmp(given, "off")) return false;
    if (*named && is_folder(given)) return there(given, name, path);
    if (*named) return snprintf(path, CDU_PATH_LIMIT, "%s", given) < CDU_PATH_LIMIT;
    if (cdu_tune_user_folder(folder, sizeof folder, NULL) == CDU_OK && there(folder, name, path)) return true;
    if (beside_program(folder) && there(folder, name, path)) return true;
    if (there(CDUNET_DATA_FOLDER "/tune", name, path)) return true;
    const char *at = getenv("XDG_DATA_DIRS");
    if (!at || !*at) at = "/usr/local/share:/usr/share";
    while (*at) {
        size_t length = strcspn(at, ":");
        int used = snprintf(folder, sizeof folder, "%.*s/cdunet/tune", (int)length, at);
        if (*at == '/' && used < (int)sizeof folder && there(folder, name, path)) return true;
        at += length + (at[length] == ':');
    }
    return false;
}

/* ---- packs in use ---- */

/* error: of a pack that was named, not of one that merely was found. told: somebody has heard of it. */
typedef struct loaded { struct loaded *next; cdu_device_info device; cdu_tune_pack pack; cdu_error error; bool told; } loaded;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static loaded *packs;

cdu_status cdu_tune_graph(const cdu_conv_problem *p, uint32_t less, cdu_graph **out, cdu_value *x, cdu_value *y, cdu_error *error)
{
    bool turned = p->side == 2;     /* a transposed convolution's gradient: its x is the problem's result, its y the problem's input */
    uint32_t in = p->in_lanes - less, of = p->out_lanes - less;
    CDU_TRY(cdu_graph_create(out, error));
    *x = cdu_graph_input(*out, "x", (cdu_shape){p->n, p->h, p->w, turned ? of : in}, CDU_F32);
    *y = turned || p->parities == 4 ? cdu_conv_transposed(*out, "conv", *x, turned ? in : of)
                                    : cdu_conv(*out, "conv", *x, p->side, of, CDU_EPILOGUE_NONE);
    return cdu_graph_status(*out, error);
}

/* Whether the steps of an entry are within the device's limits: by lowering them for a part of the pixels. */
static bool lowers(const cdu_device_info *device, const cdu_tune_entry *entry)
{
    const cdu_conv_variant *variant = cdu_conv_variant_named(entry->choice.variant);
    cdu_graph *graph = NULL;
    cdu_plan *plan = NULL;
    cdu_value x, y;
    if (!variant || !variant->fits(device, &entry->problem, &entry->choice)) return false;
    cdu_conv_problem part = entry->problem;
    part.n = cdu_smaller(part.n, 2), part.h = cdu_smaller(part.h, 128), part.w = cdu_smaller(part.w, 128);
    bool good = cdu_tune_graph(&part, 0, &graph, &x, &y, NULL) == CDU_OK;
    if (good) {
        cdu_graph_want_gradient(graph, x);
        cdu_graph_seed(graph, y);
        cdu_conv_force(&entry->choice);
        good = cdu_plan_create(graph, device, &(cdu_plan_options){.training = true, .quiet = true}, &plan, NULL) == CDU_OK;
        cdu_conv_force(NULL);
    }
    cdu_plan_destroy(plan);
    cdu_graph_destroy(graph);
    return good;
}

static void leave_out_unfit(const char *path, const cdu_device_info *device, cdu_tune_pack *pack)
{
    size_t kept = 0, all = pack->count + pack->unknown;
    for (size_t i = 0; i < pack->count; i++)
        if (lowers(device, &pack->entries[i])) pack->entries[kept++] = pack->entries[i];
    pack->count = kept;
    if (kept < all)
        cdu_log(CDU_LOG_WARNING, "%s: %zu of %zu settings do not fit %s or this version of cdunet, defaults are taken there%s", path,
                all - kept, all, device->name, again);
}

static bool made_for(const cdu_tune_pack *pack, const cdu_device_info *device)
{
    return !strcmp(pack->device, device->name) && !strcmp(pack->driver, device->driver) && pack->vector_width == device->vector_width;
}

static cdu_status load_file(const char *path, const cdu_device_info *device, cdu_tune_pack *pack, cdu_error *error)
{
    CDU_TRY(cdu_tune_read(path, pack, error));
    if (!made_for(pack, device))
        return cdu_fail(error, CDU_BAD_DATA,
                        "%s: a tune pack of another device: it is for %s, %s, vectors of %u, and this is %s, %s, vectors of %u; leave it "
                        "away, or make one for this device with 'cdunet-bench tune'",
                        path, pack->device, pack->driver, pack->vector_width, device->name, device->driver, device->vector_width);
    leave_out_unfit(path, device, pack);
    cdu_log(CDU_LOG_INFO, "%s: tune pack %s, %zu convolutions", device->name, path, pack->count);
    return CDU_OK;
}

/* Under the lock; null where there is no memory. After a failure the device has an empty pack. */
static loaded *loaded_of(const cdu_device_info *device)
{
    char path[CDU_PATH_LIMIT];
    bool named = false;
    for (loaded *l = packs; l; l = l->next)
        if (!strcmp(l->device.name, device->name) && !strcmp(l->device.driver, device->driver) &&
            l->device.vector_width == device->vector_width)
            return l;
    loaded *fresh;
    if (cdu_allocate(&fresh, 1, sizeof *fresh, NULL) != CDU_OK) return NULL;
    fresh->device = *device;
    fresh->next = packs;
    packs = fresh;
    if (!find_file(device, path, &named) || load_file(path, device, &fresh->pack, &fresh->error) == CDU_OK) return fresh;
    cdu_tune_free(&fresh->pack);
    if (named) return fresh;
    cdu_log(CDU_LOG_WARNING, "%s; defaults are taken", fresh->error.words);
    fresh->error = (cdu_error){0};
    return fresh;
}

cdu_status cdu_tune_load(const cdu_device_info *device, cdu_error *error)
{
    cdu_error found = {0};
    pthread_mutex_lock(&lock);
    loaded *l = loaded_of(device);
    if (l) {
        found = l->error;
        l->told = true;
    }
    pthread_mutex_unlock(&lock);
    if (!l) return cdu_fail(error, CDU_TRY_AGAIN, "no memory for a tune pack");
    return found.status == CDU_OK ? CDU_OK : cdu_fail(error, found.status, "%s", found.words);
}

const cdu_choice *cdu_tune_find(const cdu_device_info *device, const cdu_conv_problem *problem)
{
    pthread_mutex_lock(&lock);
    loaded *l = loaded_of(device);
    if (l && l->error.status != CDU_OK && !l->told) cdu_log(CDU_LOG_WARNING, "%s; defaults are taken", l->error.words);
    if (l) l->told = true;
    pthread_mutex_unlock(&lock);
    const cdu_tune_entry *entry = l ? cdu_tune_nearest(&l->pack, problem) : NULL;
    return entry ? &entry->choice : NULL;
}

void cdu_tune_forget(void)
{
    pthread_mutex_lock(&lock);
    while (packs) {
        loaded *first = packs;
        packs = first->next;
        cdu_tune_free(&first->pack);
        free(first);
    }
    pthread_mutex_unlock(&lock);
}
