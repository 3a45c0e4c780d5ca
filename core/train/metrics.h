/* metrics.h: how well predicted classes agree with the truth. Threads: one caller at a time for one confusion matrix. */
#ifndef CDU_TRAIN_METRICS_H
#define CDU_TRAIN_METRICS_H

#include "cdunet/study.h"

/* Pixels by true class and predicted class. Zero-initialize, then set `classes`. */
typedef struct { uint32_t classes; uint64_t pixels[CDU_CLASS_LIMIT][CDU_CLASS_LIMIT]; } cdu_confusion;

/* Adds `count` pixels; those whose truth is no class (255: excluded) are left out, as are predictions that are none. */
void cdu_confusion_add(cdu_confusion *confusion, const uint8_t *truth, const uint8_t *predicted, size_t count);
/* Adds another matrix of the same classes. */
void cdu_confusion_merge(cdu_confusion *confusion, const cdu_confusion *other);
/* Pixels of a class in the truth, and in the prediction. */
uint64_t cdu_confusion_truth(const cdu_confusion *confusion, uint32_t class_value);
uint64_t cdu_confusion_predicted(const cdu_confusion *confusion, uint32_t class_value);
/* TP / (TP + FP); NaN where the class is never predicted. */
double cdu_confusion_precision(const cdu_confusion *confusion, uint32_t class_value);
/* TP / (TP + FN); NaN where the class is nowhere true. */
double cdu_confusion_recall(const cdu_confusion *confusion, uint32_t class_value);
/* TP / (TP + FP + FN), the Jaccard index; NaN where the class is neither in the truth nor in the prediction. */
double cdu_confusion_iou(const cdu_confusion *confusion, uint32_t class_value);
/* 2 TP / (2 TP + FP + FN); NaN where the class is neither in the truth nor in the prediction. */
double cdu_confusion_f1(const cdu_confusion *confusion, uint32_t class_value);
/* Mean over the classes that have an F1; NaN where none has. */
double cdu_confusion_macro_f1(const cdu_confusion *confusion);
/* All pixels counted. */
uint64_t cdu_confusion_pixels(const cdu_confusion *confusion);

typedef enum { CDU_SCORE_PRECISION, CDU_SCORE_RECALL, CDU_SCORE_F1, CDU_SCORE_IOU, CDU_SCORES } cdu_score;
/* "precision", "recall", "f1", "iou". */
const char *cdu_score_name(cdu_score score);
/* One of the scores above; with class_value = confusion->classes the mean over the classes that have it, NaN where none has. */
double cdu_confusion_score(const cdu_confusion *confusion, cdu_score score, uint32_t class_value);

#endif
