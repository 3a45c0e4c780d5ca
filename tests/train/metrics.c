/* metrics.c: scores against numbers worked out by hand. */
#include "core/train/metrics.h"

#include <criterion/criterion.h>
#include <math.h>

static bool near(double a, double b)
{
    return fabs(a - b) < 1e-12;
}

Test(metrics, scores_of_a_small_matrix)
{
    /* truth 0: 3 right, 1 taken for 1; truth 1: 2 right, 1 for 0, 1 for 2; truth 2: 1 right; two pixels excluded, class 3 nowhere */
    static const uint8_t truth[] = {0, 0, 0, 0, 1, 1, 1, 1, 2, 255, 255}, predicted[] = {0, 0, 0, 1, 1, 1, 0, 2, 2, 0, 1};
    cdu_confusion c = {.classes = 4};
    cdu_confusion_add(&c, truth, predicted, sizeof truth);
    cr_assert_eq(cdu_confusion_truth(&c, 0), 4);
    cr_assert_eq(cdu_confusion_predicted(&c, 0), 4);
    cr_assert_eq(cdu_confusion_truth(&c, 1), 4);
    cr_assert_eq(cdu_confusion_predicted(&c, 1), 3);
    cr_assert(near(cdu_confusion_precision(&c, 0), 3.0 / 4) && near(cdu_confusion_recall(&c, 0), 3.0 / 4));
    cr_assert(near(cdu_confusion_precision(&c, 1), 2.0 / 3) && near(cdu_confusion_recall(&c, 1), 2.0 / 4));
    cr_assert(near(cdu_confusion_precision(&c, 2), 1.0 / 2) && near(cdu_confusion_recall(&c, 2), 1));
    cr_assert(near(cdu_confusion_f1(&c, 0), 6.0 / 8) && near(cdu_confusion_f1(&c, 1), 4.0 / 7) && near(cdu_confusion_f1(&c, 2), 2.0 / 3));
    cr_assert(near(cdu_confusion_iou(&c, 0), 3.0 / 5) && near(cdu_confusion_iou(&c, 1), 2.0 / 5) && near(cdu_confusion_iou(&c, 2), 1.0 / 2));
    /* class 3 is nowhere: no score, and not in the mean */
    cr_assert(isnan(cdu_confusion_f1(&c, 3)) && isnan(cdu_confusion_precision(&c, 3)) && isnan(cdu_confusion_recall(&c, 3)));
    cr_assert(isnan(cdu_confusion_iou(&c, 3)));
    cr_assert(near(cdu_confusion_macro_f1(&c), (6.0 / 8 + 4.0 / 7 + 2.0 / 3) / 3));
}

Test(metrics, predicted_but_never_true_counts_as_zero)
{
    static const uint8_t truth[] = {0, 0}, predicted[] = {0, 1};
    cdu_confusion c = {.classes = 2};
    cdu_confusion_add(&c, truth, predicted, 2);
    cr_assert(near(cdu_confusion_f1(&c, 1), 0) && isnan(cdu_confusion_recall(&c, 1)) && near(cdu_confusion_precision(&c, 1), 0));
    cr_assert(near(cdu_confusion_macro_f1(&c), (2.0 / 3) / 2));
}

Test(metrics, merging_adds)
{
    static const uint8_t truth[] = {0, 1, 1}, predicted[] = {0, 1, 0};
    cdu_confusion a = {.classes = 2}, b = {.classes = 2};
    cdu_confusion_add(&a, truth, predicted, 3);
    cdu_confusion_add(&b, truth, predicted, 2);
    cdu_confusion_merge(&a, &b);
    cr_assert(a.pixels[0][0] == 2 && a.pixels[1][1] == 2 && a.pixels[1][0] == 1 && a.pixels[0][1] == 0);
    cdu_confusion none = {.classes = 2};
    cr_assert(isnan(cdu_confusion_macro_f1(&none)));
}
