/* evaluate.c: what is refused before anything runs. */
#include "core/train/evaluate.h"

#include <criterion/criterion.h>
#include <string.h>

Test(evaluate, other_classes_are_refused_with_both_lists)
{
    static char name_a[] = "Background", name_b[] = "Tissue", path[] = "s.yaml";
    cdu_class classes[2] = {{.name = name_a}, {.name = name_b}};
    cdu_study study = {.path = path, .classes = classes, .class_count = 2};
    cdu_model_about about = {.settings.classes = 2, .class_names = {"background", "Tissue"}};
    cdu_error error = {0};
    cr_assert_eq(cdu_evaluation_check_classes(&study, &about, &error), CDU_OK, "case does not matter");
    strcpy(about.class_names[1], "Tumor");
    cr_assert_eq(cdu_evaluation_check_classes(&study, &about, &error), CDU_BAD_DATA);
    cr_assert(strstr(error.words, "Background, Tissue") && strstr(error.words, "background, Tumor"), "%s", error.words);
    strcpy(about.class_names[1], "Tissue");
    about.settings.classes = 3;
    strcpy(about.class_names[2], "Tumor");
    cr_assert_eq(cdu_evaluation_check_classes(&study, &about, &error), CDU_BAD_DATA);
}
