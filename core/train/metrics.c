/* metrics.c: see metrics.h. */
#include "core/train/metrics.h"

#include <math.h>

void cdu_confusion_add(cdu_confusion *confusion, const uint8_t *truth, const uint8_t *predicted, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (truth[i] < confusion->classes && predicted[i] < confusion->classes) confusion->pixels[truth[i]][predicted[i]]++;
}

void cdu_confusion_merge(cdu_confusion *confusion, const cdu_confusion *other)
{
    for (uint32_t t = 0; t < confusion->classes; t++)
        for (uint32_t p = 0; p < confusion->classes; p++) confusion->pixels[t][p] += other->pixels[t][p];
}

uint64_t cdu_confusion_truth(const cdu_confusion *confusion, uint32_t class_value)
{
    uint64_t sum = 0;
    for (uint32_t c = 0; c < confusion->classes; c++) sum += confusion->pixels[class_value][c];
    return sum;
}

uint64_t cdu_confusion_predicted(const cdu_confusion *confusion, uint32_t class_value)
{
    uint64_t sum = 0;
    for (uint32_t c = 0; c < confusion->classes; c++) sum += confusion->pixels[c][class_value];
    return sum;
}

static double ratio(uint64_t part, uint64_t whole)
{
    return whole ? (double)part / (double)whole : NAN;
}

double cdu_confusion_precision(const cdu_confusion *confusion, uint32_t class_value)
{
    return ratio(confusion->pixels[class_value][class_value], cdu_confusion_predicted(confusion, class_value));
}

double cdu_confusion_recall(const cdu_confusion *confusion, uint32_t class_value)
{
    return ratio(confusion->pixels[class_value][class_value], cdu_confusion_truth(confusion, class_value));
}

double cdu_confusion_iou(const cdu_confusion *confusion, uint32_t class_value)
{
    uint64_t hits = confusion->pixels[class_value][class_value];
    return ratio(hits, cdu_confusion_truth(confusion, class_value) + cdu_confusion_predicted(confusion, class_value) - hits);
}

double cdu_confusion_f1(const cdu_confusion *confusion, uint32_t class_value)
{
    uint64_t hits = confusion->pixels[class_value][class_value];
    return ratio(2 * hits, cdu_confusion_truth(confusion, class_value) + cdu_confusion_predicted(confusion, class_value));
}

double cdu_confusion_macro_f1(const cdu_confusion *confusion)
{
    return cdu_confusion_score(confusion, CDU_SCORE_F1, confusion->classes);
}

uint64_t cdu_confusion_pixels(const cdu_confusion *confusion)
{
    uint64_t sum = 0;
    for (uint32_t c = 0; c < confusion->classes; c++) sum += cdu_confusion_truth(confusion, c);
    return sum;
}

static const struct {
    const char *name;
    double (*of)(const cdu_confusion *, uint32_t);
} scores[CDU_SCORES] = {{"precision", cdu_confusion_precision},
                        {"recall", cdu_confusion_recall},
                        {"f1", cdu_confusion_f1},
                        {"iou", cdu_confusion_iou}};

const char *cdu_score_name(cdu_score score)
{
    return scores[score].name;
}

double cdu_confusion_score(const cdu_confusion *confusion, cdu_score score, uint32_t class_value)
{
    if (class_value < confusion->classes) return scores[score].of(confusion, class_value);
    double sum = 0;
    uint32_t count = 0;
    for (uint32_t c = 0; c < confusion->classes; c++) {
        double one = scores[score].of(confusion, c);
        if (isnan(one)) continue;
        sum += one;
        count++;
    }
    return count ? sum / count : NAN;
}
