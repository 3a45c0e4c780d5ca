/* labels.h: the classes of phantom studies: names and colours as in QuPath, values as in label maps. */
#ifndef CDU_TOOLS_PHANTOM_LABELS_H
#define CDU_TOOLS_PHANTOM_LABELS_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    const char *name;
    uint8_t value, color[3];
} phantom_label;

/* In the order of their values. */
extern const phantom_label phantom_labels[];
extern const size_t phantom_label_count;

#endif
