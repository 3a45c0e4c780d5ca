/* tuning.h: tune packs: for the convolutions of one device and driver, the variant and settings that `cdunet-bench tune` found to be
 * fastest there (docs/tuning.md). A pack is a JSON file that can be sent to someone else. Reading, writing, looking up; searching is
 * bench/tune*.c. Threads: loading and looking up may be called from any thread, cdu_tune_place before all others. */
#ifndef CDU_OPS_TUNING_H
#define CDU_OPS_TUNING_H

#include "core/ops/conv_variant.h"

typedef struct {
    cdu_conv_problem problem;
    cdu_choice choice;
    double share;                   /* of the default's time */
} cdu_tune_entry;

/* What was tried and must not be used on this driver. */
typedef struct { char choice[64], why[192]; } cdu_tune_refusal;

typedef struct {
    char device[128], driver[128];
    uint32_t vector_width;
    cdu_tune_entry *entries;
    cdu_tune_refusal *refusals;     /* for people; not read back */
    size_t count, capacity, refused, refusal_capacity;
    uint32_t unknown;               /* entries left out: a variant or setting that this version does not have */
} cdu_tune_pack;

/* A pack's text; `name` stands in messages. CDU_BAD_DATA, with the line or the entry, where it is no pack or a damaged one. Entries are
 * not checked against a device here. Free with cdu_tune_free, also after a failure. */
cdu_status cdu_tune_parse(const char *name, const char *text, size_t size, cdu_tune_pack *out, cdu_error *error);
cdu_status cdu_tune_read(const char *path, cdu_tune_pack *out, cdu_error *error);
/* Whole or not at all; entries sorted, so that packs can be compared as text. */
cdu_status cdu_tune_write(const char *path, cdu_tune_pack *pack, cdu_error *error);
void cdu_tune_free(cdu_tune_pack *pack);

cdu_status cdu_tune_add(cdu_tune_pack *pack, const cdu_tune_entry *entry, cdu_error *error);
cdu_status cdu_tune_refuse(cdu_tune_pack *pack, const char *choice, const char *why, cdu_error *error);
/* The entry of this problem; else that of the nearest one, with the same lanes and window and a quarter to sixteen times the pixels; else
 * null. */
const cdu_tune_entry *cdu_tune_nearest(const cdu_tune_pack *pack, const cdu_conv_problem *problem);

/* The file name a device's pack has in a folder: "amd-radeon-rx-7800-xt-mesa-25-1.json". */
enum { CDU_TUNE_NAME = 160 };
void cdu_tune_file_name(const cdu_device_info *device, char out[CDU_TUNE_NAME]);
/* The user's folder of packs, $XDG_DATA_HOME/cdunet/tune. CDU_USAGE where neither that nor HOME is set. */
cdu_status cdu_tune_user_folder(char out[], size_t size, cdu_error *error);

/* A graph of one convolution whose lowering chooses for the problem, between `less` channels fewer than lanes (pads), and what goes in
 * and comes out. In its lowering for training the problem is chosen for by the forward pass, else by the gradient of weights, else (side
 * 2) by the gradient of data. */
cdu_status cdu_tune_graph(const cdu_conv_problem *problem, uint32_t less, cdu_graph **out, cdu_value *x, cdu_value *y, cdu_error *error);

/* Where packs are: a file, a folder, or "off"; null: what CDUNET_TUNE says, and without it the user's folder and those of installed
 * data, in this order, the first pack found. */
void cdu_tune_place(const char *place);

/* Reads the device's pack, once. Without one: CDU_OK. CDU_BAD_DATA where a file was named that is none, is damaged or belongs to another
 * device or driver; a fault of a pack that merely was found is a warning. Entries that the device's limits do not allow are left out,
 * with a warning. */
cdu_status cdu_tune_load(const cdu_device_info *device, cdu_error *error);
/* What the device's pack says about a problem, or null. Loads the pack where nobody did, with warnings instead of errors. */
const cdu_choice *cdu_tune_find(const cdu_device_info *device, const cdu_conv_problem *problem);
/* Forgets all packs read. For tests. */
void cdu_tune_forget(void);

#endif
