/* init_guess.c: see init_guess.h. Names are cut into words at everything that is no letter or digit. */
#include "tools/init_guess.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const struct { const char *word, *stain; } stains[] = {
    {"he", "H&E"}, {"hes", "HES"}, {"cea", "CEA"}, {"cd3", "CD3"}, {"cd4", "CD4"}, {"cd8", "CD8"}, {"cd20", "CD20"}, {"cd31", "CD31"}, {"cd34", "CD34"},
    {"cd45", "CD45"}, {"cd68", "CD68"}, {"cd163", "CD163"}, {"foxp3", "FoxP3"}, {"ki67", "Ki67"}, {"mib1", "Ki67"}, {"pd1", "PD1"}, {"pdl1", "PDL1"},
    {"prf", "PRF"}, {"perforin", "PRF"}, {"her2", "HER2"}, {"er", "ER"}, {"pr", "PR"}, {"p53", "p53"}, {"panck", "panCK"}, {"ae1ae3", "AE1/AE3"},
    {"sma", "SMA"}, {"vimentin", "vimentin"}, {"s100", "S100"}, {"pas", "PAS"}, {"masson", "Masson"}, {"trichrome", "trichrome"}, {"dapi", "DAPI"}};

static const struct { const char *word; guess_class kind; } classes[] = {
    {"background", GUESS_BACKGROUND}, {"glass", GUESS_BACKGROUND}, {"empty", GUESS_BACKGROUND}, {"blank", GUESS_BACKGROUND}, {"tissue", GUESS_TISSUE},
    {"normal", GUESS_TISSUE}, {"normal tissue", GUESS_TISSUE}, {"liver", GUESS_TISSUE}, {"benign", GUESS_TISSUE}, {"non-tumor", GUESS_TISSUE},
    {"tumor", GUESS_TUMOR}, {"tumour", GUESS_TUMOR}, {"metastasis", GUESS_TUMOR}, {"metastases", GUESS_TUMOR}, {"cancer", GUESS_TUMOR},
    {"carcinoma", GUESS_TUMOR}, {"adenocarcinoma", GUESS_TUMOR}, {"malignant", GUESS_TUMOR}, {"necrosis", GUESS_NECROSIS},
    {"necrotic", GUESS_NECROSIS}, {"necrotic tissue", GUESS_NECROSIS}, {"exclude", GUESS_EXCLUDE}, {"excluded", GUESS_EXCLUDE},
    {"exclusion", GUESS_EXCLUDE}, {"artefact", GUESS_EXCLUDE}, {"artifact", GUESS_EXCLUDE}, {"artefacts", GUESS_EXCLUDE},
    {"artifacts", GUESS_EXCLUDE}, {"fold", GUESS_EXCLUDE}, {"folds", GUESS_EXCLUDE}, {"pen", GUESS_EXCLUDE}, {"blur", GUESS_EXCLUDE},
    {"debris", GUESS_EXCLUDE}, {"dust", GUESS_EXCLUDE}, {"bubble", GUESS_EXCLUDE}, {"roi", GUESS_REGION}};

static const char *const endings[] = {".gz", ".geojson", ".json", ".xml", ".svs", ".ome.tif", ".ome.tiff", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn",
                                      ".bif", ".vms", ".vmu", ".svslide", ".png", ".jpg", ".jpeg", ".annotation", ".annotations"};

static bool cut_ending(char *name)
{
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t length = strlen(name), part = strlen(endings[i]);
        if (length <= part || strcasecmp(name + length - part, endings[i]) != 0) continue;
        name[length - part] = 0;
        return true;
    }
    return false;
}

void guess_stem(char out[GUESS_LIMIT], const char *path)
{
    const char *slash = strrchr(path, '/');
    snprintf(out, GUESS_LIMIT, "%s", slash ? slash + 1 : path);
    while (cut_ending(out)) continue;
}

static bool is_word_letter(char c)
{
    return isalnum((unsigned char)c) || (unsigned char)c >= 128;
}

/* Joins what belongs together though a sign stands in it: H&E, Ki-67, PD-1, PD-L1. Lengths stay, so places do: the sign moves behind. */
static void join_known(char *text)
{
    static const char *const forms[] = {"h&e", "ki-67", "ki_67", "pd-1", "pd-l1"};
    for (char *at = text; *at; at++)
        for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
            size_t length = strlen(forms[i]), sign = strcspn(forms[i], "&-_");
            if (strncasecmp(at, forms[i], length) != 0 || (at > text && is_word_letter(at[-1])) || is_word_letter(at[length])) continue;
            memmove(at + sign, at + sign + 1, length - sign - 1);
            at[length - 1] = ' ';
        }
}

/* The next word of text from *at on, into out; false at the end. */
static bool next_word(const char *text, size_t *at, char out[GUESS_LIMIT])
{
    size_t length = 0;
    while (text[*at] && !is_word_letter(text[*at])) ++*at;
    while (text[*at] && is_word_letter(text[*at]) && length < GUESS_LIMIT - 1) out[length++] = text[(*at)++];
    out[length] = 0;
    return length > 0;
}

static const char *stain_of(const char *word)
{
    for (size_t i = 0; i < sizeof stains / sizeof *stains; i++)
        if (!strcasecmp(word, stains[i].word)) return stains[i].stain;
    return NULL;
}

static void stains_in(char out[GUESS_LIMIT], const char *name)
{
    char text[GUESS_LIMIT], word[GUESS_LIMIT];
    size_t at = 0, used = 0;
    out[0] = 0;
    snprintf(text, sizeof text, "%s", name);
    join_known(text);
    while (next_word(text, &at, word)) {
        const char *stain = stain_of(word);
        if (!stain || strstr(out, stain)) continue;
        int wrote = snprintf(out + used, GUESS_LIMIT - used, "%s%s", used ? "/" : "", stain);
        used += wrote > 0 && (size_t)wrote < GUESS_LIMIT - used ? (size_t)wrote : 0;
    }
}

/* The name of the folder that holds the file; empty where the path has none. */
static void folder_name(char out[GUESS_LIMIT], const char *path)
{
    const char *end = strrchr(path, '/'), *begin = end;
    out[0] = 0;
    if (!end) return;
    while (begin > path && begin[-1] != '/') begin--;
    snprintf(out, GUESS_LIMIT, "%.*s", (int)(end - begin < GUESS_LIMIT ? end - begin : GUESS_LIMIT - 1), begin);
}

void guess_stain(char out[GUESS_LIMIT], const char *path)
{
    char name[GUESS_LIMIT];
    guess_stem(name, path);
    stains_in(out, name);
    if (*out) return;
    folder_name(name, path);
    stains_in(out, name);
}

/* "s1", "section02", "level3": which cut of a block, not which block; "r27c10": which part of a slide. */
static bool is_section(const char *word)
{
    static const char *const names[] = {"s", "sec", "section", "level", "slide", "cut"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t length = strlen(names[i]);
        if (!strncasecmp(word, names[i], length) && word[length] && !word[length + strspn(word + length, "0123456789")]) return true;
    }
    size_t row = *word == 'r' ? strspn(word + 1, "0123456789") : 0;
    return row && word[1 + row] == 'c' && word[2 + row] && !word[2 + row + strspn(word + 2 + row, "0123456789")];
}

/* "Case 3" at the beginning of a name says all. */
static bool says_case(const char *text, char out[GUESS_LIMIT])
{
    static const char *const names[] = {"case", "patient", "pat", "subject", "donor"};
    char word[GUESS_LIMIT], number[GUESS_LIMIT];
    size_t at = 0;
    if (!next_word(text, &at, word) || !next_word(text, &at, number) || number[strspn(number, "0123456789")]) return false;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcasecmp(word, names[i])) return snprintf(out, GUESS_LIMIT, "%.40s-%.40s", word, number) > 0;
    return false;
}

void guess_case(char out[GUESS_LIMIT], const char *path)
{
    char stem[GUESS_LIMIT], word[GUESS_LIMIT];
    size_t at = 0, used = 0;
    guess_stem(stem, path);
    out[0] = 0;
    if (!strncmp(stem, "TCGA-", 5) && strlen(stem) >= 12 && stem[7] == '-') {
        snprintf(out, GUESS_LIMIT, "%.12s", stem); /* TCGA-project-patient */
        return;
    }
    if (says_case(stem, out)) return;
    join_known(stem);
    while (next_word(stem, &at, word)) {
        if (stain_of(word) || (used && is_section(word))) continue;
        int wrote = snprintf(out + used, GUESS_LIMIT - used, "%s%s", used ? "-" : "", word);
        used += wrote > 0 && (size_t)wrote < GUESS_LIMIT - used ? (size_t)wrote : 0;
    }
    if (!used) folder_name(out, path);
    if (!*out) guess_stem(out, path);
}

const char *guess_split(const char *path)
{
    static const struct { const char *folder, *split; } rows[] = {{"train", "train"}, {"training", "train"}, {"val", "validation"},
                                                                  {"valid", "validation"}, {"validation", "validation"}, {"test", "test"}, {"testing", "test"}};
    for (const char *at = path, *slash; (slash = strchr(at, '/')); at = slash + 1)
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
            if (strlen(rows[i].folder) == (size_t)(slash - at) && !strncasecmp(at, rows[i].folder, (size_t)(slash - at))) return rows[i].split;
    return "";
}

int guess_belongs(const char *stem, const char *slide_stem)
{
    size_t length = strlen(slide_stem);
    if (strncasecmp(stem, slide_stem, length) != 0) return 0;
    if (!stem[length]) return 1 << 20;
    return is_word_letter(stem[length]) ? 0 : (int)length;
}

guess_class guess_kind(const char *class_name)
{
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++)
        if (!strcasecmp(class_name, classes[i].word)) return classes[i].kind;
    if (!strncasecmp(class_name, "ignore", 6)) return GUESS_EXCLUDE;
    if (!strncasecmp(class_name, "region", 6)) return GUESS_REGION;
    return GUESS_OTHER;
}
