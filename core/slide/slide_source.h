/* slide_source.h: what stands behind a cdu_slide: levels of R, G, B pixels from OpenSlide or from a picture decoded into memory.
 * Private to core/slide. */
#ifndef CDU_SLIDE_SOURCE_H
#define CDU_SLIDE_SOURCE_H

#include "cdunet/slide.h"

enum {
    CDU_LEVEL_LIMIT = 64,
    CDU_SIDE_LIMIT = 4000000, /* pixels of a side; the largest scanners stay under 400 000 */
    CDU_SLIDE_CHANNELS = 3
};
#define CDU_PICTURE_LIMIT ((uint64_t)1 << 30) /* bytes of a picture decoded whole */
#define CDU_TILE_PIXELS_LIMIT ((uint64_t)1 << 26)

typedef struct {
    int64_t width, height;
    double downsample_x, downsample_y;
} cdu_slide_level;

/* read: the rectangle of a level, which lies within it, as R, G, B over white, row after row. Threads: several at once. */
typedef struct {
    cdu_status (*read)(cdu_slide *, uint32_t level, int64_t x, int64_t y, uint32_t width, uint32_t height, uint8_t *rgb,
                       cdu_error *);
    void (*close)(cdu_slide *);
} cdu_slide_source;

struct cdu_slide {
    char *path;
    cdu_slide_info info;
    cdu_slide_level levels[CDU_LEVEL_LIMIT];
    const cdu_slide_source *source;
    void *openslide;    /* openslide_t */
    uint8_t *pixels;    /* of a picture, width * height * 3 */
    double file_mpp[2]; /* what the file says of x and y; 0: nothing */
    char file_says[96]; /* of its resolution, for messages; empty: nothing */
};

/* Each fills `slide` but for the path and info.mpp. */
cdu_status cdu_slide_open_openslide(cdu_slide *slide, const char *vendor, cdu_error *error);
cdu_status cdu_slide_open_png(cdu_slide *slide, cdu_error *error);
cdu_status cdu_slide_open_jpeg(cdu_slide *slide, cdu_error *error);
cdu_status cdu_slide_open_tiff(cdu_slide *slide, cdu_error *error);

/* Checks sizes that a picture claims and makes room for `channels` bytes a pixel at slide->pixels. */
cdu_status cdu_picture_allocate(cdu_slide *slide, uint64_t width, uint64_t height, uint32_t channels, cdu_error *error);
/* One level, read from slide->pixels. */
void cdu_picture_finish(cdu_slide *slide, const char *format);
/* Takes a resolution in pixels per centimetre if it can be a microscope's. */
void cdu_slide_take_density(cdu_slide *slide, double x, double y, const char *format);

/* The name of the vendor whose format the file has (OpenSlide's word), or null. */
const char *cdu_openslide_vendor(const char *path);
/* Refuses a TIFF whose directories ask for tiles larger than the file or than reason: OpenSlide would believe them. */
cdu_status cdu_tiff_check(const char *path, cdu_error *error);
/* libtiff prints to standard error unless told not to. */
void cdu_tiff_silence(void);

/* The weights of one output pixel along one axis; see slide_filter.c. */
#define CDU_FILTER_ONE ((uint32_t)1 << 20)
typedef struct {
    int64_t first;
    uint32_t count, white;
} cdu_filter_span;

/* Output pixel i of an axis on which one output pixel is `ratio` source pixels wide, and the source has `size` pixels. Fills
 * `weights` (at least ratio + 2 entries). */
cdu_filter_span cdu_filter_weights(double ratio, int64_t size, int64_t i, uint32_t *weights);
/* The source pixels [*first, *end) that outputs [i, i + count) need. */
void cdu_filter_reach(double ratio, int64_t size, int64_t i, uint32_t count, int64_t *first, int64_t *end);
/* Outputs [x, x + width) x [y, y + height) from `source`, whose first pixel is (source_x, source_y) of the level. `stride`: bytes
 * from one output row to the next. */
cdu_status cdu_filter_resample(const uint8_t *source, int64_t source_x, int64_t source_y, uint32_t source_width,
                               const cdu_slide_level *level, double ratio_x, double ratio_y, int64_t x, int64_t y, uint32_t width,
                               uint32_t height, uint8_t *rgb, size_t stride, cdu_error *error);

#endif
