/* picture.h: pictures of the program's own, as PNG through cairo: panels of pixels, words, keys of colours. */
#ifndef CDU_TOOLS_PICTURE_H
#define CDU_TOOLS_PICTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "cdunet/error.h"

/* as in cairo.h, so that this header needs none of its folders */
typedef struct _cairo cairo_t;
typedef struct _cairo_surface cairo_surface_t;

typedef struct { cairo_surface_t *surface; cairo_t *cairo; } cdu_picture;

/* The colour of what is excluded. */
extern const uint8_t cdu_picture_excluded[3];

/* An empty picture. CDU_TRY_AGAIN where there is no memory, with nothing to end. */
cdu_status cdu_picture_begin(cdu_picture *picture, double width, double height, cdu_error *error);
/* Writes it as `path` where `status`, that of painting, is CDU_OK, and frees it. Returns what failed first. `path` may be null. */
cdu_status cdu_picture_end(cdu_picture *picture, const char *path, cdu_status status, cdu_error *error);
/* Whole or not at all. CDU_CANNOT_WRITE. */
cdu_status cdu_picture_write(cairo_surface_t *surface, const char *path, cdu_error *error);

void cdu_picture_text(cairo_t *cairo, double x, double y, double size, bool bold, const char *text);
double cdu_picture_text_width(cairo_t *cairo, double size, const char *text);
/* Copies R, G, B bytes onto the picture at (left, top), with a thin frame. */
cdu_status cdu_picture_panel(cairo_t *cairo, double left, double top, uint32_t width, uint32_t height, const uint8_t *rgb,
                             cdu_error *error);
/* A colour and what it stands for; returns where the next key may begin. */
double cdu_picture_key(cairo_t *cairo, double x, double y, const uint8_t color[3], const char *name);
/* The file's name without folder and ending. */
void cdu_picture_name(char out[96], const char *path);
/* A bar of a round length, about a quarter of the panel wide. */
void cdu_picture_scale_bar(cairo_t *cairo, double left, double bottom, uint32_t width, double mpp);

#endif
