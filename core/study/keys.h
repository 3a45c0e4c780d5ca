/* keys.h: the study file's keys that hold one value: a row gives the section, the member of cdu_study's section, the key, and the least
 * and most value (numbers) or the list of words (choices). u: whole number of 32 bits, U: of 64, D: number, E: choice. Schema,
 * checks, reading and writing are made from these rows. */
#ifndef CDU_STUDY_KEYS_H
#define CDU_STUDY_KEYS_H

#include "core/study/study.h"

#define CDU_SPLIT_KEYS(u, U, D, E)                                     \
    D(split, test, "test", 0, 0.9)                                     \
    D(split, validation, "validation", 0, 0.9)                         \
    E(split, balance_stain, "balance", balance)                        \
    U(split, seed, "seed", 0, 9223372036854775807.0)
#define CDU_TILES_KEYS(u, U, D, E)                                     \
    D(tiles, mpp, "mpp", 0.05, 100)                                    \
    u(tiles, size, "size", 1, 4096)                                    \
    u(tiles, stride, "stride", 1, 4096)                                \
    D(tiles, empty, "empty", 0, 1)
#define CDU_MODEL_KEYS(u, U, D, E)                                     \
    E(model, kind, "kind", kind)                                       \
    u(model, width, "width", 1, 1024)                                  \
    u(model, depth, "depth", 1, CDU_DEPTH_LIMIT)                       \
    E(model, bgr, "input", input)                                      \
    E(model, relu_before_batch_norm, "order", order)                   \
    E(model, cd_relu_before_batch_norm, "cd-order", order)
#define CDU_TRAIN_KEYS(u, U, D, E)                                     \
    u(train, epochs, "epochs", 1, 1000000)                             \
    u(train, batch, "batch", 1, 65536)                                 \
    D(train, learning_rate, "learning-rate", 0, 100)                   \
    u(train, learning_rate_batch, "learning-rate-batch", 1, 65536)     \
    D(train, momentum, "momentum", 0, 0.9999)                          \
    E(train, median_frequency, "class-weights", weights)               \
    E(train, mean_of_pixels, "loss-mean", mean)                        \
    u(train, accumulate, "accumulate", 1, 65536)                       \
    E(train, synchronized, "batch-norm", batch_norm)                   \
    E(train, exact_conv, "exact-conv", truth)                          \
    u(train, validate_every, "validate-every", 1, 1000000)             \
    u(train, early_stop, "early-stop", 0, 1000000)                     \
    E(train, keep_best_macro_f1, "keep-best", best)                    \
    U(train, seed, "seed", 0, 9223372036854775807.0)
#define CDU_AUGMENT_KEYS(u, U, D, E)                                   \
    E(augment, flip, "flip", truth)                                    \
    D(augment, hue, "hue", 0, 0.5)                                     \
    D(augment, brightness, "brightness", 0, 1)                         \
    D(augment, scale, "scale", 0, 0.9)                                 \
    D(augment, noise, "noise", 0, 1)                                   \
    D(augment, occlusion, "occlusion", 0, 1)                           \
    D(augment, rotate, "rotate", 0, 180)                               \
    D(augment, shear, "shear", 0, 45)
#define CDU_EVALUATE_KEYS(u, U, D, E)                                  \
    D(evaluate, boundary_um, "boundary-um", 0, 10000)                  \
    u(evaluate, bootstrap, "bootstrap", 0, 1000000)
#define CDU_STUDY_KEYS(u, U, D, E)                                                                               \
    CDU_SPLIT_KEYS(u, U, D, E) CDU_TILES_KEYS(u, U, D, E) CDU_MODEL_KEYS(u, U, D, E) CDU_TRAIN_KEYS(u, U, D, E)   \
    CDU_AUGMENT_KEYS(u, U, D, E) CDU_EVALUATE_KEYS(u, U, D, E)

/* Choices: value, word. The first word of a value is the one written. */
#define CDU_LIST_UNANNOTATED(X) X(0, "background") X(1, "exclude")
#define CDU_LIST_UNKNOWN(X) X(0, "error") X(1, "exclude")
#define CDU_LIST_BOUNDS(X) X(CDU_BOUNDS_QUPATH, "qupath") X(CDU_BOUNDS_ALL, "all") X(CDU_BOUNDS_NONE, "none")
#define CDU_LIST_BALANCE(X) X(1, "stain") X(0, "none")
#define CDU_LIST_KIND(X) X(CDU_MODEL_UNET, "unet") X(CDU_MODEL_CDUNET, "cdunet")
#define CDU_LIST_INPUT(X) X(0, "rgb") X(1, "bgr")
#define CDU_LIST_ORDER(X) X(0, "bn-relu") X(1, "relu-bn")
#define CDU_LIST_WEIGHTS(X) X(1, "median-frequency") X(0, "none")
#define CDU_LIST_MEAN(X) X(0, "class-weights") X(1, "pixels")
#define CDU_LIST_BATCH_NORM(X) X(0, "local") X(1, "synchronized")
#define CDU_LIST_BEST(X) X(1, "macro-f1") X(0, "last")
#define CDU_LIST_TRUTH(X) X(1, "true") X(0, "false") X(1, "yes") X(0, "no")
#define CDU_STUDY_WORDS(X)                                                                                           \
    X(unannotated, CDU_LIST_UNANNOTATED) X(unknown, CDU_LIST_UNKNOWN) X(balance, CDU_LIST_BALANCE) X(kind, CDU_LIST_KIND) \
    X(bounds, CDU_LIST_BOUNDS) X(input, CDU_LIST_INPUT) X(order, CDU_LIST_ORDER) X(weights, CDU_LIST_WEIGHTS) X(mean, CDU_LIST_MEAN)                \
    X(best, CDU_LIST_BEST) X(batch_norm, CDU_LIST_BATCH_NORM) X(truth, CDU_LIST_TRUTH)

#endif
