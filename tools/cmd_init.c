/* cmd_init.c: slides.csv and study.yaml for a folder of slides and annotation files. Whatever is not told by the files themselves is a guess and
 * is called one in a comment. Nothing that is there already is written over. */
#include <dirent.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cdunet/log.h"
#include "cdunet/slide.h"
#include "cdunet/study.h"
#include "core/base/file.h"
#include "core/base/memory.h"
#include "core/base/progress.h"
#include "core/slide/raster.h"
#include "tools/commands.h"
#include "tools/init_guess.h"
#include "tools/options.h"

enum { DEPTH_LIMIT = 8, FILES_LIMIT = 100000 };

typedef enum { FILE_SLIDE, FILE_POLYGONS, FILE_LABEL_MAP } file_kind;

typedef struct {
    char *path;                        /* relative to the folder */
    char stem[GUESS_LIMIT];
    file_kind kind;
    bool used;                         /* an annotation that a slide has */
    size_t annotation;                 /* of a slide: index of its annotation; SIZE_MAX: none */
    cdu_slide_info info;
    bool no_resolution;                /* the file does not tell it */
} found_file;

typedef struct {
    char *name;
    size_t count;
    uint8_t color[3];
    guess_class kind;
    bool dropped;                      /* more classes than a study can have */
} found_class;

typedef struct {
    const char *folder, *out;
    char **paths;                      /* of all files, sorted */
    size_t path_count, path_capacity;
    found_file *files;
    size_t count, capacity, slides;
    found_class *classes;
    size_t class_count, class_capacity, unnamed;
    uint64_t values[256];              /* of label maps */
    char *left_out;                    /* comment lines */
    size_t left_out_size, left_out_capacity;
    cdu_error *error;
} job;

typedef struct {
    char *text;
    size_t size, capacity;
    cdu_status status;                 /* the first failure; later calls do nothing */
    cdu_error *error;
} writer;

__attribute__((format(printf, 2, 3))) static void put(writer *w, const char *format, ...)
{
    char part[CDU_PATH_LIMIT + 512];
    if (w->status != CDU_OK) return;
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(part, sizeof part, format, arguments);
    va_end(arguments);
    if (length < 0) return;
    size_t size = (size_t)length < sizeof part ? (size_t)length : sizeof part - 1;
    w->status = cdu_grow(&w->text, &w->capacity, w->size + size + 1, 1, w->error);
    if (w->status != CDU_OK) return;
    memcpy(w->text + w->size, part, size + 1);
    w->size += size;
}

/* ---- files ---- */

static cdu_status walk(job *j, const char *inside, int depth)
{
    char folder[CDU_PATH_LIMIT];
    CDU_TRY(cdu_path_join(folder, j->folder, *inside ? inside : ".", j->error));
    DIR *listing = opendir(folder);
    if (!listing) return depth ? CDU_OK : cdu_fail(j->error, CDU_BAD_DATA, "%s: is no folder that can be read", j->folder);
    cdu_status status = CDU_OK;
    for (struct dirent *entry; status == CDU_OK && (entry = readdir(listing));) {
        char path[CDU_PATH_LIMIT], full[CDU_PATH_LIMIT];
        struct stat about;
        if (entry->d_name[0] == '.' || strpbrk(entry->d_name, "\r\n")) continue;
        if ((size_t)snprintf(path, sizeof path, "%s%s%s", inside, *inside ? "/" : "", entry->d_name) >= sizeof path) continue;
        if (cdu_path_join(full, j->folder, path, NULL) != CDU_OK || stat(full, &about) != 0) continue;
        if (S_ISDIR(about.st_mode) && depth < DEPTH_LIMIT) status = walk(j, path, depth + 1);
        if (!S_ISREG(about.st_mode)) continue;
        if (j->path_count == FILES_LIMIT) status = cdu_fail(j->error, CDU_BAD_DATA, "%s: holds more than %d files", j->folder, FILES_LIMIT);
        if (status == CDU_OK) status = cdu_grow(&j->paths, &j->path_capacity, j->path_count + 1, sizeof *j->paths, j->error);
        if (status == CDU_OK) status = cdu_copy_text(&j->paths[j->path_count], path, j->error);
        if (status == CDU_OK) j->path_count++;
    }
    closedir(listing);
    return status;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool ends_with(const char *text, const char *const *endings)
{
    for (; *endings; endings++) {
        size_t length = strlen(text), part = strlen(*endings);
        if (length > part && !strcasecmp(text + length - part, *endings)) return true;
    }
    return false;
}

static const char *const slide_endings[] = {".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide", ".png", ".jpg", ".jpeg", NULL};
static const char *const polygon_endings[] = {".xml", ".json", ".geojson", ".xml.gz", ".json.gz", ".geojson.gz", NULL};

/* A comment in slides.csv about a file that is not in it. */
static cdu_status leave_out(job *j, const char *path, const char *words)
{
    char line[CDU_PATH_LIMIT + 900];
    snprintf(line, sizeof line, "# left out: %s: %s\n", path, words);
    size_t length = strlen(line);
    CDU_TRY(cdu_grow(&j->left_out, &j->left_out_capacity, j->left_out_size + length + 1, 1, j->error));
    memcpy(j->left_out + j->left_out_size, line, length + 1);
    j->left_out_size += length;
    return CDU_OK;
}

static cdu_status add_file(job *j, const char *path, found_file *file)
{
    CDU_TRY(cdu_grow(&j->files, &j->capacity, j->count + 1, sizeof *j->files, j->error));
    guess_stem(file->stem, path);
    file->annotation = SIZE_MAX;
    j->files[j->count] = *file;
    CDU_TRY(cdu_copy_text(&j->files[j->count].path, path, j->error));
    j->count++;
    j->slides += file->kind == FILE_SLIDE;
    return CDU_OK;
}

static cdu_status add_classes(job *j, const cdu_annotations *found)
{
    for (size_t i = 0; i < found->count; i++) {
        const cdu_annotation *item = &found->items[i];
        size_t at = 0;
        if (!item->is_annotation) continue;
        j->unnamed += !*item->class_name;
        if (!*item->class_name) continue;
        while (at < j->class_count && strcasecmp(j->classes[at].name, item->class_name) != 0) at++;
        if (at == j->class_count) {
            CDU_TRY(cdu_grow(&j->classes, &j->class_capacity, j->class_count + 1, sizeof *j->classes, j->error));
            found_class *added = &j->classes[at];
            *added = (found_class){.kind = guess_kind(item->class_name)};
            /* a derived class or a group's parent may be known where the name itself is not */
            for (size_t k = 0; k < item->also_count && added->kind == GUESS_OTHER; k++) added->kind = guess_kind(item->also[k]);
            memcpy(added->color, item->color, sizeof added->color);
            CDU_TRY(cdu_copy_text(&added->name, item->class_name, j->error));
            j->class_count++;
        }
        j->classes[at].count++;
    }
    return CDU_OK;
}

static cdu_status look_at_polygons(job *j, const char *path, const char *full)
{
    cdu_annotations found;
    cdu_error reason = {0};
    cdu_status status = cdu_annotations_read(full, &found, &reason);
    if (status == CDU_TRY_AGAIN) return *j->error = reason, status;
    if (status != CDU_OK) return leave_out(j, path, reason.words);
    size_t labels = 0;
    for (size_t i = 0; i < found.count; i++) labels += found.items[i].is_annotation;
    status = labels ? add_classes(j, &found) : leave_out(j, path, "holds no annotation that covers anything");
    if (status == CDU_OK && labels) status = add_file(j, path, &(found_file){.kind = FILE_POLYGONS});
    cdu_annotations_free(&found);
    return status;
}

static cdu_status look_at_picture(job *j, const char *path, const char *full)
{
    found_file file = {.kind = FILE_SLIDE};
    cdu_error reason = {0};
    int64_t width, height;
    uint64_t counts[256];
    if (cdu_is_label_map(full) && cdu_label_map_look(full, CDU_CLASS_LIMIT, &width, &height, counts, &reason) == CDU_OK) {
        file.kind = FILE_LABEL_MAP;
        for (int i = 0; i < 256; i++) j->values[i] += counts[i];
        return add_file(j, path, &file);
    }
    cdu_slide *slide;
    cdu_status status = cdu_slide_open(full, 0, &slide, &reason);
    if (status == CDU_BAD_DATA) {
        cdu_error other = {0};
        status = cdu_slide_open(full, 1, &slide, &other);
        file.no_resolution = status == CDU_OK;
    }
    if (status == CDU_TRY_AGAIN) return *j->error = reason, status;
    if (status != CDU_OK) return leave_out(j, path, reason.words);
    file.info = cdu_slide_info_of(slide);
    cdu_slide_close(slide);
    return add_file(j, path, &file);
}

static cdu_status look_at_files(job *j)
{
    CDU_TRY(walk(j, "", 0));
    if (j->path_count > 1) qsort(j->paths, j->path_count, sizeof *j->paths, by_text);
    cdu_progress_bar bar = cdu_progress_begin("files", j->path_count);
    for (size_t i = 0; i < j->path_count; i++) {
        char full[CDU_PATH_LIMIT];
        CDU_TRY(cdu_path_join(full, j->folder, j->paths[i], j->error));
        if (ends_with(j->paths[i], polygon_endings)) CDU_TRY(look_at_polygons(j, j->paths[i], full));
        else if (ends_with(j->paths[i], slide_endings)) CDU_TRY(look_at_picture(j, j->paths[i], full));
        cdu_progress_update(&bar, i + 1, j->paths[i]);
    }
    cdu_progress_end(&bar);
    if (!j->slides)
        return cdu_fail(j->error, CDU_BAD_DATA, "%s: none of %zu files is a slide that can be opened%s%.300s", j->folder, j->path_count,
                        j->left_out_size ? "; " : "", j->left_out_size ? j->left_out + 2 : "");
    return CDU_OK;
}

/* To each annotation the slide whose name begins it with the most letters; of several for one slide polygons before label maps, then the nearest
 * name, then the first. */
static cdu_status match(job *j)
{
    for (file_kind kind = FILE_POLYGONS; kind <= FILE_LABEL_MAP; kind++)
        for (int exact = 1; exact >= 0; exact--)
            for (size_t a = 0; a < j->count; a++) {
                found_file *file = &j->files[a], *best = NULL;
                int most = 0;
                if (file->kind != kind || file->used) continue;
                for (size_t s = 0; s < j->count; s++) {
                    int belongs = j->files[s].kind == FILE_SLIDE ? guess_belongs(file->stem, j->files[s].stem) : 0;
                    if (belongs > most) best = &j->files[s], most = belongs;
                }
                if (!best || best->annotation != SIZE_MAX || (exact && strcasecmp(file->stem, best->stem) != 0)) continue;
                best->annotation = a;
                file->used = true;
            }
    for (size_t a = 0; a < j->count; a++) {
        bool named = false;
        if (j->files[a].kind == FILE_SLIDE || j->files[a].used) continue;
        for (size_t s = 0; s < j->count; s++) named |= j->files[s].kind == FILE_SLIDE && guess_belongs(j->files[a].stem, j->files[s].stem);
        CDU_TRY(leave_out(j, j->files[a].path, named ? "its slide has another annotation" : "no slide is named like it"));
    }
    return CDU_OK;
}

/* ---- slides.csv ---- */

static void put_field(writer *w, const char *text)
{
    if (!text[strcspn(text, ",\"")] && *text != '#' && *text != ' ') return put(w, "%s", text);
    put(w, "\"");
    for (; *text; text++) put(w, *text == '"' ? "\"\"" : "%c", *text);
    put(w, "\"");
}

static void put_path(writer *w, const job *j, const char *path)
{
    char full[CDU_PATH_LIMIT], *real;
    if (!j->out) return put_field(w, path);
    if (cdu_path_join(full, j->folder, path, NULL) != CDU_OK || !(real = realpath(full, NULL))) return put_field(w, path);
    put_field(w, real);
    free(real);
}

/* Before the first of slides in a row that tell no resolution. */
static void put_hint(writer *w, const job *j, size_t first)
{
    size_t row = 0;
    for (size_t i = first; i < j->count && (j->files[i].kind != FILE_SLIDE || j->files[i].no_resolution); i++) row += j->files[i].kind == FILE_SLIDE;
    put(w, "# the next %zu tell no resolution: fill in mpp, micrometres a pixel (0.25 at 40x, 0.5 at 20x, 1 at 10x)\n", row);
}

static void put_slides(writer *w, const job *j)
{
    bool hinted = false;
    put(w, "# The slides of the study, written by cdunet init. Lines that begin with # are comments.\n"
           "# Guessed from names, so look at them: which annotation belongs to which slide, stain, case (patient or block), and split where\n"
           "# a folder is called so. An empty split is chosen by study.yaml: whole cases, stains balanced. An empty mpp is what the file tells.\n"
           "slide,annotation,stain,case,split,mpp\n");
    for (size_t i = 0; i < j->count; i++) {
        const found_file *slide = &j->files[i];
        char stain[GUESS_LIMIT], case_name[GUESS_LIMIT];
        if (slide->kind != FILE_SLIDE) continue;
        guess_stain(stain, slide->path);
        guess_case(case_name, slide->path);
        if (slide->no_resolution && !hinted) put_hint(w, j, i);
        hinted = slide->no_resolution;
        put_path(w, j, slide->path);
        put(w, ",");
        if (slide->annotation != SIZE_MAX) put_path(w, j, j->files[slide->annotation].path);
        put(w, ",");
        put_field(w, stain);
        put(w, ",");
        put_field(w, case_name);
        put(w, ",%s,\n", guess_split(slide->path));
    }
    for (const char *at = j->left_out; at && *at; at = strchr(at, '\n') + 1) put(w, "%.*s\n", (int)strcspn(at, "\n"), at);
}

/* ---- study.yaml ---- */

static void put_quoted(writer *w, const char *text)
{
    put(w, "\"");
    for (; *text; text++) {
        if ((unsigned char)*text < 32) put(w, " ");
        else put(w, *text == '"' || *text == '\\' ? "\\%c" : "%c", *text);
    }
    put(w, "\"");
}

static size_t count_kind(const job *j, guess_class kind)
{
    size_t count = 0;
    for (size_t i = 0; i < j->class_count; i++) count += j->classes[i].kind == kind;
    return count;
}

/* One class of the paper with the names met for it. */
static void put_class(writer *w, const job *j, const char *name, const char *color, guess_class kind)
{
    bool first = true;
    put(w, "  - {name: %s, color: \"%s\"", name, color);
    for (size_t i = 0; i < j->class_count; i++) {
        if (j->classes[i].kind != kind || !strcasecmp(j->classes[i].name, name)) continue;
        put(w, first ? ", also: [" : ", ");
        put_quoted(w, j->classes[i].name);
        first = false;
    }
    put(w, first ? "}" : "]}");
    size_t count = 0;
    for (size_t i = 0; i < j->class_count; i++) count += j->classes[i].kind == kind ? j->classes[i].count : 0;
    if (count) put(w, " # %zu annotations%s\n", count, first ? "" : "; a guess: that these names mean this class");
    else put(w, "\n");
}

static const struct { const char *name, *color; guess_class kind; } paper[] = {
    {"Background", "#000000", GUESS_BACKGROUND}, {"Tissue", "#00a000", GUESS_TISSUE}, {"Tumor", "#c80000", GUESS_TUMOR}, {"Necrosis", "#e6c800", GUESS_NECROSIS}};
enum { PAPER = sizeof paper / sizeof *paper };

/* Classes found, and those of the paper that label maps have values for; without any, the paper's. */
static void put_classes(writer *w, job *j)
{
    size_t written = 0, highest = 0;
    for (size_t v = 1; v < CDU_CLASS_LIMIT; v++)
        if (j->values[v]) highest = v;
    bool all = !j->class_count && !highest;
    put(w, "# The place in the list is the class's value in label maps; the first is the background.\n");
    if (!highest && j->values[CDU_EXCLUDED])
        put(w, "# Label maps with the values 0 and 255 alone were met: 255 is excluded; where it shall be a class, write 1 instead.\n");
    if (highest) put(w, "# Label maps with values up to %zu were met: that these are the classes in this order is a guess.\n", highest);
    put(w, "classes:\n");
    for (size_t c = 0; c < PAPER; c++) {
        if (c && !all && !count_kind(j, paper[c].kind) && c > highest) continue;
        put_class(w, j, paper[c].name, paper[c].color, paper[c].kind);
        written++;
    }
    for (size_t v = PAPER; v <= highest; v++, written++) put(w, "  - {name: Class %zu}\n", v);
    for (size_t i = 0; i < j->class_count; i++) {
        found_class *class = &j->classes[i];
        if (class->kind != GUESS_OTHER) continue;
        class->dropped = written == CDU_CLASS_LIMIT;
        if (class->dropped) continue;
        put(w, "  - {name: ");
        put_quoted(w, class->name);
        put(w, ", color: \"#%02x%02x%02x\"} # %zu annotations; a guess: that it is a class of its own\n", class->color[0], class->color[1], class->color[2], class->count);
        written++;
    }
}

static void put_exclude(writer *w, const job *j)
{
    size_t dropped = 0;
    put(w, "  exclude: [Exclude, \"Ignore*\"");
    for (size_t i = 0; i < j->class_count; i++) {
        const found_class *class = &j->classes[i];
        dropped += class->dropped;
        if ((class->kind != GUESS_EXCLUDE && !class->dropped) || !strcasecmp(class->name, "Exclude") || !strncasecmp(class->name, "Ignore", 6)) continue;
        put(w, ", ");
        put_quoted(w, class->name);
    }
    put(w, "] # left out of loss and scores\n");
    if (dropped) put(w, "  # %zu classes of these are there because a study holds at most %d\n", dropped, CDU_CLASS_LIMIT);
}

static double middle_of(double *values, size_t count)
{
    for (size_t i = 1; i < count; i++)
        for (size_t k = i; k && values[k - 1] > values[k]; k--) {
            double t = values[k];
            values[k] = values[k - 1];
            values[k - 1] = t;
        }
    return count ? values[(count - 1) / 2] : 0;
}

static cdu_status put_tiles(writer *w, const job *j)
{
    double *values;
    size_t count = 0;
    CDU_TRY(cdu_allocate(&values, j->slides, sizeof *values, j->error));
    for (size_t i = 0; i < j->count; i++)
        if (j->files[i].kind == FILE_SLIDE && !j->files[i].no_resolution) values[count++] = j->files[i].info.mpp;
    double middle = middle_of(values, count), mpp = middle > 1 ? ceil(middle * 10) / 10 : 1;
    count = 0;
    for (size_t i = 0; i < j->count; i++) {
        const found_file *f = &j->files[i];
        if (f->kind == FILE_SLIDE) values[count++] = (double)(f->info.width < f->info.height ? f->info.width : f->info.height) * (f->no_resolution ? 1 : f->info.mpp) / mpp;
    }
    double side = middle_of(values, count);
    unsigned size = 512;
    while (size > 64 && size > side) size /= 2;
    free(values);
    if (mpp > 1) put(w, "# a guess: the slides' own resolution, %.4g um/px, is coarser than the paper's 1.0\n", middle);
    if (size < 512) put(w, "# a guess: tiles smaller than the paper's 512, since the slides are small\n");
    put(w, "tiles: {mpp: %.4g, size: %u, stride: %u, empty: 0.10} # um/px that the network sees; 1.0 is 10x\n", mpp, size, size / 2);
    return CDU_OK;
}

static cdu_status put_study(writer *w, job *j)
{
    char name[GUESS_LIMIT], *real = realpath(j->folder, NULL);
    guess_stem(name, real ? real : j->folder);
    free(real);
    put(w, "# A study, written by cdunet init from what lies in the folder. What is a guess says so. Every key that is not here has the\n"
           "# paper's value: docs/study.md names them all. Look at slides.csv too, then: cdunet check study.yaml\n"
           "format: 1\nname: ");
    put_quoted(w, name);
    put(w, "\nslides: slides.csv\n\n");
    put_classes(w, j);
    put(w, "\nannotations:\n");
    put_exclude(w, j);
    if (j->unnamed) put(w, "  # %zu annotations have no class: they are refused until they get one, or unknown is set to exclude\n", j->unnamed);
    if (count_kind(j, GUESS_REGION)) put(w, "  # regions were met: outside of them a slide is excluded\n");
    const char *region = NULL;
    for (size_t i = 0; i < j->class_count; i++)
        if (j->classes[i].kind == GUESS_REGION && strncasecmp(j->classes[i].name, "region", 6) != 0) region = j->classes[i].name;
    if (region) {
        put(w, "  region: ");
        put_quoted(w, region);
        put(w, " # a guess: that it outlines the annotated area\n");
    }
    put(w, "  unannotated: background # a guess: that everything was annotated; else exclude\n"
           "  unknown: error\n\n"
           "split: {by: case, test: 0.33, validation: 0.10, balance: stain, seed: 7}\n");
    CDU_TRY(put_tiles(w, j));
    put(w, "model: {kind: cdunet, width: 32, depth: 5}\n"
           "train: {epochs: 200, batch: 16, learning-rate: 0.001, learning-rate-batch: 16}\n");
    return CDU_OK;
}

/* ---- the command ---- */

static cdu_status write_files(job *j, const char *csv, const char *yaml)
{
    writer slides = {.error = j->error}, study = {.error = j->error};
    put_slides(&slides, j);
    cdu_status status = put_study(&study, j);
    if (status == CDU_OK) status = slides.status;
    if (status == CDU_OK) status = study.status;
    if (status == CDU_OK && j->out) status = cdu_folder_create(j->out, j->error);
    if (status == CDU_OK) status = cdu_file_write(csv, slides.text, slides.size, j->error);
    if (status == CDU_OK) {
        status = cdu_file_write(yaml, study.text, study.size, j->error);
        if (status != CDU_OK) unlink(csv); /* written just now */
    }
    free(slides.text);
    free(study.text);
    return status;
}

static cdu_status refuse_to_overwrite(const char *path, cdu_error *error)
{
    if (!cdu_file_exists(path)) return CDU_OK;
    return cdu_fail(error, CDU_CANNOT_WRITE, "%s: is there already and stays as it is; move it away, or give another folder by --out", path);
}

static cdu_status make_study(job *j)
{
    char csv[CDU_PATH_LIMIT], yaml[CDU_PATH_LIMIT];
    const char *to = j->out ? j->out : j->folder;
    CDU_TRY(cdu_path_join(csv, to, "slides.csv", j->error));
    CDU_TRY(cdu_path_join(yaml, to, "study.yaml", j->error));
    CDU_TRY(refuse_to_overwrite(csv, j->error));
    CDU_TRY(refuse_to_overwrite(yaml, j->error));
    CDU_TRY(look_at_files(j));
    CDU_TRY(match(j));
    CDU_TRY(write_files(j, csv, yaml));
    size_t annotated = 0, silent = 0;
    for (size_t i = 0; i < j->count; i++) {
        annotated += j->files[i].kind == FILE_SLIDE && j->files[i].annotation != SIZE_MAX;
        silent += j->files[i].kind == FILE_SLIDE && j->files[i].no_resolution;
    }
    printf("%s\n%s\n", yaml, csv);
    cdu_log(CDU_LOG_INFO, "%zu slides, %zu with an annotation, %zu classes met; look at both files, then: cdunet check %s", j->slides, annotated,
            j->class_count, yaml);
    if (silent) cdu_log(CDU_LOG_WARNING, "%s: %zu slides tell no resolution: fill in the column mpp", csv, silent);
    return CDU_OK;
}

cdu_status cmd_init(int argc, char **argv, cdu_error *error)
{
    job j = {.error = error};
    bool done = false;
    const cdu_option options[] = {
        {.name = "out", .letter = 'o', .type = CDU_OPTION_TEXT, .value = &j.out, .argument = "DIR",
         .help = "folder for the two files; paths in them are absolute then\n(default: the folder of the slides)"},
        {0}};
    const cdu_positional positionals[] = {{.name = "DIR", .value = &j.folder, .help = "folder of slides and annotation files, looked through with those in it"}, {0}};
    const cdu_usage usage = {"init", "writes slides.csv and study.yaml for a folder of slides and annotations, to be looked at",
                             "A file belongs to the slide whose name it begins with: S7.xml, S7.svs.geojson, S7-mask.png. Guesses are marked as\n"
                             "such. Files that are there already are not written over.", options, positionals};
    CDU_TRY(cdu_options_parse(&usage, argc, argv, &done, error));
    if (done) return CDU_OK;
    cdu_status status = make_study(&j);
    for (size_t i = 0; i < j.path_count; i++) free(j.paths[i]);
    for (size_t i = 0; i < j.count; i++) free(j.files[i].path);
    for (size_t i = 0; i < j.class_count; i++) free(j.classes[i].name);
    free(j.paths);
    free(j.files);
    free(j.classes);
    free(j.left_out);
    return status;
}
