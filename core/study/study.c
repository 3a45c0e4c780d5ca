/* study.c: the study file. libcyaml loads it by a schema made from the tables below; libyaml's marks give the line of every key, so
 * that each error names it: the document is walked beside the schema first, because libcyaml's own lines are those of the
 * token before an unknown key, it takes "1e3" for the whole number 1, and it knows no mapping with keys of the user's choice (`stains`).
 * One table row a key holds its type, range and place, so schema, reading, checking and writing cannot disagree. */
#include <cyaml/cyaml.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/study/keys.h"

#define STUDY_LIMIT (1u << 20)

typedef struct {
    char *name, *color, **also;
    unsigned also_count;
} raw_class;

typedef struct {
    uint64_t *format;
    char *name, *slides;
    raw_class *classes;
    unsigned classes_count;
    struct {
        char **exclude, **overlap, *region;
        unsigned exclude_count, overlap_count;
        int *unannotated, *unknown, *bounds;
    } annotations;
    uint64_t *cd_filters;
    unsigned cd_filters_count;
    int *split_by;
    char **by;
    unsigned by_count;
#define RAW_U(section, member, ...) uint64_t *section##_##member;
#define RAW_D(section, member, ...) double *section##_##member;
#define RAW_E(section, member, ...) int *section##_##member;
    CDU_STUDY_KEYS(RAW_U, RAW_U, RAW_D, RAW_E)
} raw_study;

/* ---- schema ---- */

#define OPTIONAL (CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL)
#define WORDS_ENTRY(value, word) {word, value},
#define WORDS(name, list) static const cyaml_strval_t words_##name[] = {list(WORDS_ENTRY)};
CDU_STUDY_WORDS(WORDS)
static const cyaml_strval_t words_split_by[] = {{"case", 0}}; /* the only way there is */

#define FIELD_U(section, member, key, ...) CYAML_FIELD_UINT_PTR(key, OPTIONAL, raw_study, section##_##member),
#define FIELD_D(section, member, key, ...) CYAML_FIELD_FLOAT_PTR(key, OPTIONAL, raw_study, section##_##member),
#define FIELD_E(section, member, key, list, ...)                                                                        \
    CYAML_FIELD_ENUM_PTR(key, OPTIONAL | CYAML_FLAG_STRICT, raw_study, section##_##member, words_##list,                 \
                         sizeof words_##list / sizeof *words_##list),

static const cyaml_schema_value_t text_value = {CYAML_VALUE_STRING(CYAML_FLAG_POINTER, char *, 1, 255)};
static const cyaml_schema_value_t count_value = {CYAML_VALUE_UINT(CYAML_FLAG_DEFAULT, uint64_t)};
static const cyaml_schema_field_t class_fields[] = {
    CYAML_FIELD_STRING_PTR("name", CYAML_FLAG_POINTER, raw_class, name, 1, 63),
    CYAML_FIELD_STRING_PTR("color", OPTIONAL, raw_class, color, 1, 31),
    CYAML_FIELD_SEQUENCE("also", OPTIONAL, raw_class, also, &text_value, 0, 100),
    CYAML_FIELD_END};
static const cyaml_schema_value_t class_value = {CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, raw_class, class_fields)};
static const cyaml_schema_field_t annotation_fields[] = {
    CYAML_FIELD_SEQUENCE("exclude", OPTIONAL, raw_study, annotations.exclude, &text_value, 0, 100),
    CYAML_FIELD_SEQUENCE("overlap", OPTIONAL, raw_study, annotations.overlap, &text_value, 0, 200),
    CYAML_FIELD_STRING_PTR("region", OPTIONAL, raw_study, annotations.region, 0, 255),
    CYAML_FIELD_ENUM_PTR("unannotated", OPTIONAL | CYAML_FLAG_STRICT, raw_study, annotations.unannotated, words_unannotated, 2),
    CYAML_FIELD_ENUM_PTR("unknown", OPTIONAL | CYAML_FLAG_STRICT, raw_study, annotations.unknown, words_unknown, 2),
    CYAML_FIELD_ENUM_PTR("bounds", OPTIONAL | CYAML_FLAG_STRICT, raw_study, annotations.bounds, words_bounds, 3),
    CYAML_FIELD_END};
static const cyaml_schema_field_t split_fields[] = {
    CDU_SPLIT_KEYS(FIELD_U, FIELD_U, FIELD_D, FIELD_E)
    CYAML_FIELD_ENUM_PTR("by", OPTIONAL | CYAML_FLAG_STRICT, raw_study, split_by, words_split_by, 1), CYAML_FIELD_END};
static const cyaml_schema_field_t tiles_fields[] = {CDU_TILES_KEYS(FIELD_U, FIELD_U, FIELD_D, FIELD_E) CYAML_FIELD_END};
static const cyaml_schema_field_t model_fields[] = {
    CDU_MODEL_KEYS(FIELD_U, FIELD_U, FIELD_D, FIELD_E)
    CYAML_FIELD_SEQUENCE("cd-filters", OPTIONAL, raw_study, cd_filters, &count_value, 0, 100), CYAML_FIELD_END};
static const cyaml_schema_field_t train_fields[] = {CDU_TRAIN_KEYS(FIELD_U, FIELD_U, FIELD_D, FIELD_E) CYAML_FIELD_END};
static const cyaml_schema_field_t augment_fields[] = {CDU_AUGMENT_KEYS(FIELD_U, FIELD_U, FIELD_D, FIELD_E) CYAML_FIELD_END};
static const cyaml_schema_field_t evaluate_fields[] = {
    CDU_EVALUATE_KEYS(FIELD_U, FIELD_U, FIELD_D, FIELD_E)
    CYAML_FIELD_SEQUENCE("by", OPTIONAL, raw_study, by, &text_value, 0, 10), CYAML_FIELD_END};

/* Sections share the one raw struct: each is a mapping at offset 0 of it. */
#define SECTION(name, list)                                                                         \
    {.key = name, .data_offset = 0,                                                                 \
     .value = {.type = CYAML_MAPPING, .flags = CYAML_FLAG_OPTIONAL, .data_size = sizeof(raw_study), .mapping = {.fields = list}}}
static const cyaml_schema_field_t root_fields[] = {
    CYAML_FIELD_UINT_PTR("format", OPTIONAL, raw_study, format),
    CYAML_FIELD_STRING_PTR("name", OPTIONAL, raw_study, name, 1, 255),
    CYAML_FIELD_STRING_PTR("slides", CYAML_FLAG_POINTER, raw_study, slides, 1, CDU_PATH_LIMIT - 1),
    CYAML_FIELD_SEQUENCE("classes", OPTIONAL, raw_study, classes, &class_value, 0, 255),
    SECTION("annotations", annotation_fields),
    CYAML_FIELD_IGNORE("stains", CYAML_FLAG_OPTIONAL),
    SECTION("split", split_fields), SECTION("tiles", tiles_fields), SECTION("model", model_fields),
    SECTION("train", train_fields), SECTION("augment", augment_fields), SECTION("evaluate", evaluate_fields),
    CYAML_FIELD_END};
static const cyaml_schema_value_t root_value = {CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, raw_study, root_fields)};

/* ---- the document, for lines ---- */

typedef struct {
    cdu_study *study;
    yaml_document_t document;
    cdu_error *error;
    char first[300];                   /* libcyaml's first complaint, and the first line that it names */
    unsigned line;
} reader;

static yaml_node_t *node_of(reader *r, int index)
{
    return yaml_document_get_node(&r->document, index);
}

static const char *text_of(const yaml_node_t *node)
{
    return node && node->type == YAML_SCALAR_NODE ? (const char *)node->data.scalar.value : NULL;
}

static yaml_node_pair_t *find_pair(reader *r, yaml_node_t *mapping, const char *key)
{
    if (!mapping || mapping->type != YAML_MAPPING_NODE) return NULL;
    for (yaml_node_pair_t *pair = mapping->data.mapping.pairs.start; pair < mapping->data.mapping.pairs.top; pair++) {
        const char *text = text_of(node_of(r, pair->key));
        if (text && !strcmp(text, key)) return pair;
    }
    return NULL;
}

static yaml_node_t *find(reader *r, yaml_node_t *mapping, const char *key)
{
    yaml_node_pair_t *pair = find_pair(r, mapping, key);
    return pair ? node_of(r, pair->value) : NULL;
}

/* The value of section.key (section may be null). */
static yaml_node_t *find_key(reader *r, const char *section, const char *key)
{
    yaml_node_t *root = yaml_document_get_root_node(&r->document);
    return find(r, section ? find(r, root, section) : root, key);
}

__attribute__((format(printf, 4, 5))) static cdu_status refuse(reader *r, const yaml_node_t *node, const char *key,
                                                               const char *format, ...)
{
    char words[500];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    return cdu_fail(r->error, CDU_BAD_DATA, "%s:%zu: %s: %s", r->study->path, node ? node->start_mark.line + 1 : 1, key, words);
}

static cdu_status refuse_more(reader *r, yaml_parser_t *parser)
{
    yaml_document_t next;
    if (!yaml_parser_load(parser, &next))
        return cdu_fail(r->error, CDU_BAD_DATA, "%s:%zu: broken YAML: %s", r->study->path, parser->problem_mark.line + 1,
                        parser->problem ? parser->problem : "out of memory");
    const yaml_node_t *root = yaml_document_get_root_node(&next);
    size_t line = next.start_mark.line + 1;
    yaml_document_delete(&next);
    if (!root) return CDU_OK;
    return cdu_fail(r->error, CDU_BAD_DATA, "%s:%zu: a second document begins; a study file holds one", r->study->path, line);
}

static cdu_status load_document(reader *r, const char *text, size_t size)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) return cdu_fail(r->error, CDU_TRY_AGAIN, "out of memory for reading %s", r->study->path);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
    cdu_status status = CDU_OK;
    if (!yaml_parser_load(&parser, &r->document)) {
        bool memory = parser.error == YAML_MEMORY_ERROR;
        status = cdu_fail(r->error, memory ? CDU_TRY_AGAIN : CDU_BAD_DATA, "%s:%zu: broken YAML: %s", r->study->path,
                          parser.problem_mark.line + 1, parser.problem ? parser.problem : "out of memory");
        memset(&r->document, 0, sizeof r->document);
    } else if (yaml_document_get_root_node(&r->document)) {
        status = refuse_more(r, &parser);
        if (status != CDU_OK) yaml_document_delete(&r->document);
    }
    yaml_parser_delete(&parser);
    return status;
}

static const char *kind_of(const yaml_node_t *node)
{
    if (node->type == YAML_MAPPING_NODE) return "a mapping of keys";
    if (node->type == YAML_SEQUENCE_NODE) return "a list";
    return node->data.scalar.length ? "a single value" : "empty";
}

static cdu_status check_mapping(reader *r, yaml_node_t *mapping, const cyaml_schema_field_t *fields, const char *path);

static cdu_status check_number(reader *r, const yaml_node_t *node, enum cyaml_type type, const char *path)
{
    const char *text = text_of(node);
    char *end = NULL;
    if (type == CYAML_UINT) {
        if (*text < '0' || *text > '9') return refuse(r, node, path, "must be a whole number, but is '%.60s'", text);
        strtoull(text, &end, 10);
        if (*end || strlen(text) > 19) return refuse(r, node, path, "must be a whole number, but is '%.60s'", text);
        if (text[0] == '0' && text[1]) return refuse(r, node, path, "must be a whole number without a leading zero, but is '%.60s'", text);
    } else {
        double value = strtod(text, &end);
        if (end == text || *end || !isfinite(value)) return refuse(r, node, path, "must be a number, but is '%.60s'", text);
    }
    return CDU_OK;
}

static cdu_status check_word(reader *r, const yaml_node_t *node, const cyaml_schema_value_t *value, const char *path)
{
    char list[200] = "";
    for (uint32_t i = 0; i < value->enumeration.count; i++) {
        if (!strcmp(value->enumeration.strings[i].str, text_of(node))) return CDU_OK;
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", value->enumeration.strings[i].str);
    }
    return refuse(r, node, path, "must be one of %s, but is '%.60s'", list, text_of(node));
}

static cdu_status check_value(reader *r, yaml_node_t *node, const cyaml_schema_value_t *value, const char *path)
{
    if (value->type == CYAML_IGNORE) return CDU_OK;
    if (value->type == CYAML_MAPPING) {
        if (node->type != YAML_MAPPING_NODE) return refuse(r, node, path, "must be a mapping of keys, but is %s", kind_of(node));
        return check_mapping(r, node, value->mapping.fields, path);
    }
    if (value->type == CYAML_SEQUENCE) {
        if (node->type != YAML_SEQUENCE_NODE) return refuse(r, node, path, "must be a list, but is %s", kind_of(node));
        size_t count = (size_t)(node->data.sequence.items.top - node->data.sequence.items.start);
        if (count > value->sequence.max) return refuse(r, node, path, "has %zu items, more than %u", count, value->sequence.max);
        for (size_t i = 0; i < count; i++)
            CDU_TRY(check_value(r, node_of(r, node->data.sequence.items.start[i]), value->sequence.entry, path));
        return CDU_OK;
    }
    if (node->type != YAML_SCALAR_NODE) return refuse(r, node, path, "must be a single value, but is %s", kind_of(node));
    if (value->type == CYAML_UINT || value->type == CYAML_FLOAT) return check_number(r, node, value->type, path);
    if (value->type == CYAML_ENUM) return check_word(r, node, value, path);
    if (node->data.scalar.length < value->string.min) return refuse(r, node, path, "is empty");
    if (node->data.scalar.length > value->string.max) return refuse(r, node, path, "is longer than %u bytes", value->string.max);
    if (strlen(text_of(node)) != node->data.scalar.length) return refuse(r, node, path, "holds a zero byte");
    return CDU_OK;
}

static cdu_status check_mapping(reader *r, yaml_node_t *mapping, const cyaml_schema_field_t *fields, const char *path)
{
    char name[200];
    for (yaml_node_pair_t *pair = mapping->data.mapping.pairs.start; pair < mapping->data.mapping.pairs.top; pair++) {
        yaml_node_t *key = node_of(r, pair->key);
        const char *text = text_of(key);
        if (!text) return refuse(r, key, *path ? path : "study", "a key must be a plain word");
        snprintf(name, sizeof name, "%s%s%.80s", path, *path ? "." : "", text);
        if (find_pair(r, mapping, text) != pair) return refuse(r, key, name, "is given twice");
        const cyaml_schema_field_t *field = fields;
        while (field->key && strcmp(field->key, text) != 0) field++;
        if (!field->key) {
            char known[300] = "";
            for (field = fields; field->key; field++) {
                size_t used = strlen(known);
                snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", field->key);
            }
            return refuse(r, key, name, "unknown key; known here are %s", known);
        }
        CDU_TRY(check_value(r, node_of(r, pair->value), &field->value, name));
    }
    for (const cyaml_schema_field_t *field = fields; field->key; field++) {
        snprintf(name, sizeof name, "%s%s%s", path, *path ? "." : "", field->key);
        if (!(field->value.flags & CYAML_FLAG_OPTIONAL) && !find_pair(r, mapping, field->key))
            return refuse(r, mapping, name, "this key must be given");
    }
    return CDU_OK;
}

/* ---- from raw values to the study ---- */

typedef struct {
    const char *section, *key;
    char type;                         /* u: uint32, U: uint64, d: double, e: bool or enum of `size` bytes */
    size_t raw, to, size;
    double least, most;
} row;

#define ROW_u(s, m, k, least, most) {#s, k, 'u', offsetof(raw_study, s##_##m), offsetof(cdu_study, s.m), 4, least, most},
#define ROW_U(s, m, k, least, most) {#s, k, 'U', offsetof(raw_study, s##_##m), offsetof(cdu_study, s.m), 8, least, most},
#define ROW_D(s, m, k, least, most) {#s, k, 'd', offsetof(raw_study, s##_##m), offsetof(cdu_study, s.m), 8, least, most},
#define ROW_E(s, m, k, list, ...) {#s, k, 'e', offsetof(raw_study, s##_##m), offsetof(cdu_study, s.m), sizeof(((cdu_study *)0)->s.m), 0, 0},
static const row rows[] = {CDU_STUDY_KEYS(ROW_u, ROW_U, ROW_D, ROW_E)};

static cdu_status take_row(reader *r, const raw_study *raw, const row *at)
{
    const void *from;
    memcpy(&from, (const char *)raw + at->raw, sizeof from);
    if (!from) return CDU_OK;
    char name[80], *to = (char *)r->study + at->to;
    snprintf(name, sizeof name, "%s.%s", at->section, at->key);
    const yaml_node_t *node = find_key(r, at->section, at->key);
    if (at->type == 'e') {
        int value = *(const int *)from;
        if (at->size == sizeof(bool)) *(bool *)to = value != 0;
        else *(cdu_model_kind *)to = (cdu_model_kind)value;
        return CDU_OK;
    }
    double value = at->type == 'd' ? *(const double *)from : (double)*(const uint64_t *)from;
    if (!(value >= at->least && value <= at->most))
        return refuse(r, node, name, "must be from %.10g to %.10g, but is %s", at->least, at->most, text_of(node));
    if (at->type == 'd') *(double *)to = value;
    else if (at->type == 'U') *(uint64_t *)to = *(const uint64_t *)from;
    else *(uint32_t *)to = (uint32_t)*(const uint64_t *)from;
    return CDU_OK;
}

static cdu_status copy_list(char ***out, size_t *count, char *const *from, size_t from_count, cdu_error *error)
{
    CDU_TRY(cdu_allocate(out, from_count, sizeof **out, error));
    for (size_t i = 0; i < from_count; i++) {
        CDU_TRY(cdu_copy_text(&(*out)[i], from[i], error));
        (*count)++;
    }
    return CDU_OK;
}

static bool parse_color(const char *text, uint8_t color[3])
{
    if (text[0] != '#' || strlen(text) != 7 || strspn(text + 1, "0123456789abcdefABCDEF") != 6) return false;
    unsigned long value = strtoul(text + 1, NULL, 16);
    for (int i = 0; i < 3; i++) color[i] = (uint8_t)(value >> (16 - 8 * i));
    return true;
}

static cdu_status take_classes(reader *r, const raw_study *raw)
{
    /* figure 1's colours */
    static const struct { char *name, *color; } paper[] = {
        {"Background", "#000000"}, {"Tissue", "#00a000"}, {"Tumor", "#c80000"}, {"Necrosis", "#e6c800"}};
    static const char *const more[CDU_CLASS_LIMIT] = {"#000000", "#00a000", "#c80000", "#e6c800", "#0060c8", "#a000c8", "#00c8c8", "#c86400",
                                                      "#808080", "#80ff80", "#ff8080", "#ffff80", "#80c0ff", "#e080ff", "#80ffff", "#ffc080"};
    yaml_node_t *list = find_key(r, NULL, "classes");
    size_t count = list ? raw->classes_count : sizeof paper / sizeof *paper;
    if (count < 2 || count > CDU_CLASS_LIMIT)
        return refuse(r, list, "classes", "%zu classes; there must be from 2 to %d, the first being the background", count, CDU_CLASS_LIMIT);
    CDU_TRY(cdu_allocate(&r->study->classes, count, sizeof *r->study->classes, r->error));
    for (size_t i = 0; i < count; i++) {
        cdu_class *class = &r->study->classes[r->study->class_count++];
        const raw_class *from = list ? &raw->classes[i] : NULL;
        const char *color = from ? (from->color ? from->color : more[i]) : paper[i].color;
        const yaml_node_t *node = list ? node_of(r, list->data.sequence.items.start[i]) : NULL;
        CDU_TRY(cdu_copy_text(&class->name, from ? from->name : paper[i].name, r->error));
        if (!parse_color(color, class->color)) return refuse(r, node, "classes.color", "must be like \"#c80000\", but is '%.40s'", color);
        if (from) CDU_TRY(copy_list(&class->also, &class->also_count, from->also, from->also_count, r->error));
    }
    return CDU_OK;
}

/* Which class has `name` as its name or among `also`; class_count where none. */
static size_t class_named(const cdu_study *study, const char *name, size_t before)
{
    for (size_t c = 0; c < before; c++) {
        if (!strcasecmp(study->classes[c].name, name)) return c;
        for (size_t i = 0; i < study->classes[c].also_count; i++)
            if (!strcasecmp(study->classes[c].also[i], name)) return c;
    }
    return study->class_count;
}

static bool listed(char *const *list, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (!strcasecmp(list[i], name)) return true;
    return false;
}

static cdu_status check_class_names(reader *r)
{
    cdu_study *study = r->study;
    yaml_node_t *list = find_key(r, NULL, "classes");
    for (size_t c = 0; c < study->class_count; c++) {
        const yaml_node_t *node = list ? node_of(r, list->data.sequence.items.start[c]) : NULL;
        for (size_t i = 0; i <= study->classes[c].also_count; i++) {
            const char *name = i ? study->classes[c].also[i - 1] : study->classes[c].name;
            size_t other = class_named(study, name, c);
            if (other < c) return refuse(r, node, "classes", "'%s' already names class %zu, %s", name, other, study->classes[other].name);
            if (i && (!strcasecmp(name, study->classes[c].name) || listed(study->classes[c].also, i - 1, name)))
                return refuse(r, node, "classes.also", "'%s' is named twice", name);
            if (listed(study->exclude, study->exclude_count, name))
                return refuse(r, node, "classes", "'%s' is a class and also in annotations.exclude", name);
        }
    }
    return CDU_OK;
}

/* Default: what is excluded, then the classes from the last to the second. */
static cdu_status default_overlap(cdu_study *study, cdu_error *error)
{
    CDU_TRY(cdu_allocate(&study->overlap, study->exclude_count + study->class_count, sizeof *study->overlap, error));
    for (size_t i = 0; i < study->exclude_count; i++)
        CDU_TRY(cdu_copy_text(&study->overlap[study->overlap_count++], study->exclude[i], error));
    for (size_t c = study->class_count; c-- > 1;)
        CDU_TRY(cdu_copy_text(&study->overlap[study->overlap_count++], study->classes[c].name, error));
    return CDU_OK;
}

static cdu_status take_annotations(reader *r, const raw_study *raw)
{
    static char *const exclude[] = {"Exclude", "Ignore*"};
    cdu_study *study = r->study;
    yaml_node_t *given = find_key(r, "annotations", "exclude"), *overlap = find_key(r, "annotations", "overlap");
    CDU_TRY(copy_list(&study->exclude, &study->exclude_count, given ? raw->annotations.exclude : exclude,
                      given ? raw->annotations.exclude_count : 2, r->error));
    CDU_TRY(cdu_copy_text(&study->region, raw->annotations.region ? raw->annotations.region : "Region*", r->error));
    study->unannotated_is_excluded = raw->annotations.unannotated && *raw->annotations.unannotated;
    study->unknown_is_excluded = raw->annotations.unknown && *raw->annotations.unknown;
    study->bounds = raw->annotations.bounds ? (cdu_bounds)*raw->annotations.bounds : CDU_BOUNDS_QUPATH;
    CDU_TRY(check_class_names(r));
    if (!overlap) return default_overlap(study, r->error);
    CDU_TRY(copy_list(&study->overlap, &study->overlap_count, raw->annotations.overlap, raw->annotations.overlap_count, r->error));
    for (size_t i = 0; i < study->overlap_count; i++) {
        const yaml_node_t *node = node_of(r, overlap->data.sequence.items.start[i]);
        if (listed(study->overlap, i, study->overlap[i])) return refuse(r, node, "annotations.overlap", "'%s' is named twice", study->overlap[i]);
        if (class_named(study, study->overlap[i], study->class_count) == study->class_count &&
            !listed(study->exclude, study->exclude_count, study->overlap[i]))
            return refuse(r, node, "annotations.overlap", "'%s' is neither a class nor in annotations.exclude", study->overlap[i]);
    }
    return CDU_OK;
}

static cdu_status take_stain(reader *r, yaml_node_t *key, yaml_node_t *list)
{
    const char *name = text_of(key);
    if (!name || !*name || strlen(name) > 255) return refuse(r, key, "stains", "a stain's name must be a plain word");
    for (size_t i = 0; i + 1 < r->study->stain_count; i++)
        if (!strcasecmp(r->study->stains[i].name, name)) return refuse(r, key, "stains", "'%s' is given twice", name);
    cdu_stain *stain = &r->study->stains[r->study->stain_count - 1];
    CDU_TRY(cdu_copy_text(&stain->name, name, r->error));
    if (list->type != YAML_SEQUENCE_NODE) return refuse(r, list, "stains", "'%.80s' must have a list of spellings, but is %s", name, kind_of(list));
    size_t count = (size_t)(list->data.sequence.items.top - list->data.sequence.items.start);
    CDU_TRY(cdu_allocate(&stain->spellings, count, sizeof *stain->spellings, r->error));
    for (size_t i = 0; i < count; i++) {
        const yaml_node_t *item = node_of(r, list->data.sequence.items.start[i]);
        const char *text = text_of(item);
        if (!text || !*text || strlen(text) > 255) return refuse(r, item, "stains", "a spelling of '%.80s' must be a text", name);
        CDU_TRY(cdu_copy_text(&stain->spellings[i], text, r->error));
        stain->spelling_count++;
    }
    return CDU_OK;
}

static cdu_status take_stains(reader *r)
{
    yaml_node_t *map = find_key(r, NULL, "stains");
    if (!map) return CDU_OK;
    if (map->type != YAML_MAPPING_NODE) return refuse(r, map, "stains", "must be a mapping of names to lists, but is %s", kind_of(map));
    size_t count = (size_t)(map->data.mapping.pairs.top - map->data.mapping.pairs.start);
    if (count > 1000) return refuse(r, map, "stains", "%zu stains, more than 1000", count);
    CDU_TRY(cdu_allocate(&r->study->stains, count, sizeof *r->study->stains, r->error));
    for (size_t i = 0; i < count; i++) {
        r->study->stain_count++;
        yaml_node_pair_t *pair = &map->data.mapping.pairs.start[i];
        CDU_TRY(take_stain(r, node_of(r, pair->key), node_of(r, pair->value)));
    }
    return CDU_OK;
}

static cdu_status take_lists(reader *r, const raw_study *raw)
{
    cdu_study *study = r->study;
    yaml_node_t *filters = find_key(r, "model", "cd-filters"), *by = find_key(r, "evaluate", "by");
    if (filters) {
        bool good = raw->cd_filters_count == 2;
        for (unsigned i = 0; i < 2 && good; i++) {
            good = raw->cd_filters[i] >= 1 && raw->cd_filters[i] <= 256;
            study->model.cd_filters[i] = (uint32_t)raw->cd_filters[i];
        }
        if (!good) return refuse(r, filters, "model.cd-filters", "must be two whole numbers from 1 to 256, like [6, 3]");
    }
    if (by) study->evaluate.by_stain = study->evaluate.by_case = study->evaluate.by_slide = false;
    for (unsigned i = 0; by && i < raw->by_count; i++) {
        if (!strcmp(raw->by[i], "stain")) study->evaluate.by_stain = true;
        else if (!strcmp(raw->by[i], "case")) study->evaluate.by_case = true;
        else if (!strcmp(raw->by[i], "slide")) study->evaluate.by_slide = true;
        else return refuse(r, by, "evaluate.by", "must hold stain, case or slide, but holds '%.60s'", raw->by[i]);
    }
    return CDU_OK;
}

static cdu_status check_together(reader *r)
{
    cdu_study *study = r->study;
    uint32_t multiple = 1u << (study->model.depth - 1);
    yaml_node_t *node = find_key(r, "tiles", "size");
    if (study->tiles.size % multiple)
        return refuse(r, node ? node : find_key(r, "model", "depth"), node ? "tiles.size" : "model.depth",
                      "tiles of %u pixels cannot be halved %u times, as depth %u needs; the size must be a multiple of %u", study->tiles.size,
                      study->model.depth - 1, study->model.depth, multiple);
    node = find_key(r, "tiles", "stride");
    if (study->tiles.stride > study->tiles.size) {
        if (node) return refuse(r, node, "tiles.stride", "%u is more than the tile size %u: pixels would be left out", study->tiles.stride, study->tiles.size);
        study->tiles.stride = study->tiles.size / 2 ? study->tiles.size / 2 : 1;
    }
    if (study->split.test + study->split.validation >= 1)
        return refuse(r, find_key(r, NULL, "split"), "split", "test %.10g and validation %.10g leave nothing to train on", study->split.test,
                      study->split.validation);
    return CDU_OK;
}

static cdu_status take_all(reader *r, const raw_study *raw)
{
    cdu_study *study = r->study;
    if (raw->format && *raw->format != 1)
        return refuse(r, find_key(r, NULL, "format"), "format", "is %llu, but this program knows format 1", (unsigned long long)*raw->format);
    char folder[CDU_PATH_LIMIT], slides[CDU_PATH_LIMIT];
    CDU_TRY(cdu_path_folder(folder, study->path, r->error));
    CDU_TRY(cdu_copy_text(&study->folder, folder, r->error));
    if (cdu_path_join(slides, folder, raw->slides, NULL) != CDU_OK) return refuse(r, find_key(r, NULL, "slides"), "slides", "the path is too long");
    CDU_TRY(cdu_copy_text(&study->slides_path, slides, r->error));
    const char *slash = strrchr(study->path, '/');
    CDU_TRY(cdu_copy_text(&study->name, raw->name ? raw->name : slash ? slash + 1 : study->path, r->error));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) CDU_TRY(take_row(r, raw, &rows[i]));
    CDU_TRY(take_classes(r, raw));
    CDU_TRY(take_annotations(r, raw));
    CDU_TRY(take_stains(r));
    CDU_TRY(take_lists(r, raw));
    study->model.classes = (uint32_t)study->class_count;
    return check_together(r);
}

static void hear(cyaml_log_t level, void *context, const char *format, va_list arguments)
{
    (void)level;
    reader *r = context;
    char words[300];
    vsnprintf(words, sizeof words, format, arguments);
    words[strcspn(words, "\n")] = 0;
    const char *line = strstr(words, "(line: ");
    if (line && !r->line) /* the innermost comes first */
        r->line = (unsigned)strtoul(line + 7, NULL, 10);
    if (!r->first[0] && !strstr(words, "Backtrace")) memcpy(r->first, words, sizeof words);
}

static cdu_status load(reader *r, const char *text, size_t size)
{
    yaml_node_t *root = yaml_document_get_root_node(&r->document);
    if (!root) return cdu_fail(r->error, CDU_BAD_DATA, "%s:1: slides: the file is empty; this key must be given", r->study->path);
    if (root->type != YAML_MAPPING_NODE) return refuse(r, root, "study", "must be a mapping of keys, but is %s", kind_of(root));
    CDU_TRY(check_mapping(r, root, root_fields, ""));
    const cyaml_config_t config = {.log_fn = hear, .log_ctx = r, .log_level = CYAML_LOG_ERROR, .mem_fn = cyaml_mem, .flags = CYAML_CFG_NO_ALIAS};
    raw_study *raw = NULL;
    cyaml_err_t result = cyaml_load_data((const uint8_t *)text, size, &config, &root_value, (cyaml_data_t **)&raw, NULL);
    if (result != CYAML_OK || !raw)
        return cdu_fail(r->error, result == CYAML_ERR_OOM ? CDU_TRY_AGAIN : CDU_BAD_DATA, "%s:%u: %s%s%s", r->study->path, r->line ? r->line : 1,
                        cyaml_strerror(result), r->first[0] ? ": " : "", r->first);
    cdu_status status = take_all(r, raw);
    cyaml_free(&config, &root_value, raw, 0);
    return status;
}

cdu_model_settings cdu_model_defaults(void)
{
    return (cdu_model_settings){.kind = CDU_MODEL_CDUNET, .width = 32, .depth = 5, .cd_filters = {6, 3}, .classes = 4, .bgr = true};
}

static void set_defaults(cdu_study *study)
{
    study->model = cdu_model_defaults();
    study->tiles.mpp = 1.0;
    study->tiles.size = 512;
    study->tiles.stride = 256;
    study->tiles.empty = 0.10;
    study->train.epochs = 200;
    study->train.batch = 16;
    study->train.learning_rate = 0.001;
    study->train.learning_rate_batch = 16;
    study->train.momentum = 0.9;
    study->train.median_frequency = true;
    study->train.accumulate = 1;
    study->train.validate_every = 10;
    study->train.keep_best_macro_f1 = true;
    study->train.seed = 1;
    /* the paper names the kinds of augmentation, not their strengths */
    study->augment.flip = true;
    study->augment.hue = 0.05;
    study->augment.brightness = 0.15;
    study->augment.scale = 0.10;
    study->augment.noise = 0.03;
    study->augment.occlusion = 0.10;
    study->augment.rotate = 10;
    study->augment.shear = 5;
    study->evaluate.boundary_um = 20;
    study->evaluate.bootstrap = 1000;
    study->evaluate.by_stain = study->evaluate.by_case = study->evaluate.by_slide = true;
    study->split.test = 0.33;
    study->split.validation = 0.10;
    study->split.balance_stain = true;
    study->split.seed = 7;
}

cdu_status cdu_study_parse(cdu_study *study, const char *text, size_t size, cdu_error *error)
{
    reader r = {.study = study, .error = error};
    set_defaults(study);
    cdu_status status = load_document(&r, text, size);
    if (status != CDU_OK) return status;
    status = load(&r, text, size);
    yaml_document_delete(&r.document);
    return status;
}

static void free_list(char **list, size_t count)
{
    for (size_t i = 0; i < count; i++) free(list[i]);
    free(list);
}

void cdu_study_clear(cdu_study *study)
{
    free(study->path);
    free(study->folder);
    free(study->name);
    free(study->slides_path);
    free(study->region);
    for (size_t i = 0; i < study->class_count; i++) {
        free(study->classes[i].name);
        free_list(study->classes[i].also, study->classes[i].also_count);
    }
    free(study->classes);
    free_list(study->exclude, study->exclude_count);
    free_list(study->overlap, study->overlap_count);
    for (size_t i = 0; i < study->stain_count; i++) {
        free(study->stains[i].name);
        free_list(study->stains[i].spellings, study->stains[i].spelling_count);
    }
    free(study->stains);
    for (size_t i = 0; i < study->slide_count; i++) {
        free(study->slides[i].slide);
        free(study->slides[i].annotation);
        free(study->slides[i].stain);
        free(study->slides[i].case_name);
    }
    free(study->slides);
    *study = (cdu_study){0};
}

void cdu_study_free(cdu_study *study)
{
    if (!study) return;
    cdu_study_clear(study);
    free(study);
}

cdu_status cdu_study_read_settings(const char *path, cdu_study **out, cdu_error *error)
{
    static const char defaults[] = "slides: slides.csv\n";
    *out = NULL;
    char *text = NULL;
    size_t size = sizeof defaults - 1;
    cdu_study *study;
    if (path) CDU_TRY(cdu_file_read(path, STUDY_LIMIT, &text, &size, error));
    cdu_status status = cdu_allocate(&study, 1, sizeof *study, error);
    if (status == CDU_OK) {
        status = cdu_copy_text(&study->path, path ? path : "defaults", error);
        if (status == CDU_OK) status = cdu_study_parse(study, text ? text : defaults, size, error);
        if (status == CDU_OK) *out = study;
        else cdu_study_free(study);
    }
    free(text);
    return status;
}

cdu_status cdu_study_read(const char *path, cdu_study **out, cdu_error *error)
{
    cdu_slide_origin *origins = NULL;
    CDU_TRY(cdu_study_read_settings(path, out, error));
    cdu_status status = cdu_study_read_slides(*out, &origins, error);
    if (status == CDU_OK) status = cdu_study_assign_splits(*out, origins, error);
    free(origins);
    if (status == CDU_OK) return CDU_OK;
    cdu_study_free(*out);
    *out = NULL;
    return status;
}
