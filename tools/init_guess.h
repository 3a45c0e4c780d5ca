/* init_guess.h: what names of files and annotations suggest: stain, case, split, class. Guesses, to be looked at by a person. */
#ifndef CDU_TOOLS_INIT_GUESS_H
#define CDU_TOOLS_INIT_GUESS_H

#include <stdbool.h>
#include <stddef.h>

enum { GUESS_LIMIT = 128 };

typedef enum { GUESS_BACKGROUND, GUESS_TISSUE, GUESS_TUMOR, GUESS_NECROSIS, GUESS_EXCLUDE, GUESS_REGION, GUESS_OTHER } guess_class;

/* The file's name without folder and ending (.svs, .ome.tif, .geojson.gz, .svs.xml). */
void guess_stem(char out[GUESS_LIMIT], const char *path);
/* "Ki67/CD3" of case01-ki67-cd3.tif; empty where no known stain is named, in the file or its folder. */
void guess_stain(char out[GUESS_LIMIT], const char *path);
/* The stem without stain and section; a TCGA barcode's patient; the folder where nothing is left. */
void guess_case(char out[GUESS_LIMIT], const char *path);
/* "train", "validation", "test" where a folder of the path is called so, else "". */
const char *guess_split(const char *path);
/* Whether a file with this stem belongs to a slide with that one: equal, or the slide's and a separator and more ("S7-mask"). 0: no; more is better. */
int guess_belongs(const char *stem, const char *slide_stem);
guess_class guess_kind(const char *class_name);

#endif
