/* Augmentation: what is drawn, and that every device makes the same bytes of it. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/train/augment.h"
#include "ops/run.h"

static const cdu_study defaults = {.augment = {true, 0.05, 0.15, 0.10, 0.03, 0.10, 10, 5}};

Test(augment, draws_fill_their_ranges_and_flips_are_fair)
{
    uint32_t flips[4] = {0}, boxes = 0;
    double least = 9, most = 0, noise = 0;
    cdu_study flip = {.augment = {.flip = true}}, scale = {.augment = {.scale = 0.2}};
    for (uint32_t t = 0; t < 400; t++) {
        cdu_augment a;
        cdu_augment_draw(&flip, 1, 3, t, 512, &a);
        flips[(a.matrix[0] < 0) + 2 * (a.matrix[3] < 0)]++;
        cr_expect(abs(a.matrix[0]) == 16384 && abs(a.matrix[3]) == 16384 && !a.matrix[1] && !a.matrix[2] && a.side == 1 && !a.noise);
        cr_expect(a.color[0] == 4096 && a.color[4] == 4096 && a.color[8] == 4096 && !a.color[1] && !a.box[0].x);
        cdu_augment_draw(&scale, 1, 3, t, 512, &a);
        double factor = 16384.0 / a.matrix[0];
        least = fmin(least, factor);
        most = fmax(most, factor);
        cdu_augment_draw(&defaults, 1, 3, t, 512, &a);
        noise = fmax(noise, a.noise / 65280.0);
        double area = 0;
        for (int i = 0; i < CDU_AUGMENT_BOXES; i++) {
            uint32_t w = (a.box[i].x >> 16) - (a.box[i].x & 65535), h = (a.box[i].y >> 16) - (a.box[i].y & 65535);
            cr_expect(a.box[i].x >> 16 <= 512 && a.box[i].y >> 16 <= 512 && w <= 512 && h <= 512);
            boxes += w > 0;
            area += (double)w * h / (512 * 512);
        }
        cr_expect_leq(area, 0.102);
        cr_expect_eq(a.color[0] + a.color[1] + a.color[2], a.color[6] + a.color[7] + a.color[8], "grey stays grey");
    }
    for (int i = 0; i < 4; i++) cr_expect(flips[i] > 60 && flips[i] < 140);
    cr_expect(least > 0.8 && least < 0.81 && most < 1.2 && most > 1.19, "%g to %g", least, most);
    cr_expect(noise > 0.029 && noise <= 0.03 && boxes > 600);
}

/* Switching one part on leaves what the others do; another seed, epoch or tile draws anew. */
Test(augment, parts_have_numbers_of_their_own)
{
    cdu_augment all, one, other;
    cdu_study hue = {.augment = {.hue = 0.05, .brightness = 0.15}};
    cdu_augment_draw(&defaults, 1, 2, 3, 512, &all);
    cdu_augment_draw(&hue, 1, 2, 3, 512, &one);
    cr_expect(!memcmp(all.color, one.color, sizeof all.color) && memcmp(all.matrix, one.matrix, sizeof all.matrix) != 0);
    cdu_augment_draw(&defaults, 1, 2, 3, 512, &one);
    cr_expect(!memcmp(&all, &one, sizeof all));
    for (int i = 0; i < 4; i++) {
        cdu_augment_draw(&defaults, i == 0 ? 2 : i == 3 ? 1 + (1ull << 40) : 1, i == 1 ? 3 : 2, i == 2 ? 4 : 3, 512, &other);
        cr_expect(memcmp(all.matrix, other.matrix, sizeof all.matrix) && memcmp(all.color, other.color, sizeof all.color));
    }
    cdu_study none = {0};
    cr_expect(cdu_augment_wanted(&defaults) && cdu_augment_wanted(&hue) && !cdu_augment_wanted(&none));
}

enum { TILES = 4, SIDE = 96, PIXELS = TILES * SIDE * SIDE };
typedef struct { float image[PIXELS * 3]; uint32_t label[PIXELS]; } result;

static void run_on(const cdu_gpu *gpu, const cdu_study *study, result *out)
{
    cdu_error error = {0};
    cdu_graph *graph;
    cdu_program *program;
    cdu_value label;
    cdu_augment table[TILES];
    static uint32_t words[PIXELS];
    cdu_random random = cdu_random_stream(9, CDU_RANDOM_TEST, 0, 0);
    for (uint32_t i = 0; i < PIXELS; i++) words[i] = cdu_random_u32(&random) & 0x03ffffff;
    for (uint32_t i = 0; i < TILES; i++) cdu_augment_draw(study, 5, 6, 70 + i, SIDE, &table[i]);
    cdu_status status = cdu_graph_create(&graph, &error);
    cdu_value tile = cdu_graph_input(graph, "tile", (cdu_shape){TILES, SIDE, SIDE, 1}, CDU_U32);
    cdu_value words_in = cdu_graph_input(graph, "augment", (cdu_shape){TILES, 1, 1, CDU_AUGMENT_WORDS}, CDU_U32);
    cdu_value image = cdu_tile_augment(graph, "input", tile, words_in, false, &label);
    cdu_graph_output(graph, image);
    cdu_graph_output(graph, label);
    if (status == CDU_OK) status = cdu_graph_status(graph, &error);
    if (status == CDU_OK) status = cdu_program_create(graph, gpu, &(cdu_plan_options){0}, &program, &error);
    cr_assert_eq(status, CDU_OK, "%s", error.words);
    status = cdu_program_write(program, tile, words, &error);
    if (status == CDU_OK) status = cdu_program_write(program, words_in, table, &error);
    if (status == CDU_OK) status = cdu_program_run(program, NULL, 0, &error);
    if (status == CDU_OK) status = cdu_program_read(program, image, out->image, &error);
    if (status == CDU_OK) status = cdu_program_read(program, label, out->label, &error);
    cr_assert_eq(status, CDU_OK, "%s", error.words);
    cdu_program_destroy(program);
    cdu_graph_destroy(graph);
}

/* Asked for is 1/255 in 99.9 % of the pixels; integers give equality. */
Test(augment, every_device_makes_the_same_bytes)
{
    static result first, other;
    const cdu_op_devices *devices = cdu_op_devices_open();
    cdu_study far_out = {.augment = {true, 0.5, 0.9, 0.9, 0.5, 0.6, 180, 45}};
    const cdu_study *studies[] = {&defaults, &far_out};
    for (int s = 0; s < 2; s++)
        for (uint32_t g = 0, ran = 0; g < devices->count; g++) {
            if (cdu_op_is_null(&devices->gpu[g])) continue;
            run_on(&devices->gpu[g], studies[s], ran ? &other : &first);
            if (!ran++) continue;
            uint64_t unequal = 0, labels = 0;
            double furthest = 0;
            for (uint32_t i = 0; i < PIXELS; i++) {
                double distance = 0;
                for (int c = 0; c < 3; c++) distance = fmax(distance, fabs((double)first.image[3 * i + c] - other.image[3 * i + c]));
                unequal += distance > 0;
                furthest = fmax(furthest, distance);
                labels += first.label[i] != other.label[i];
            }
            fprintf(stderr, "augmentation, %s ranges, %s against %s: %d pixels, %llu differ (at most %g of 255), %llu labels differ\n",
                    s ? "widest" : "default", devices->gpu[g].id, devices->gpu[0].id, (int)PIXELS, (unsigned long long)unequal,
                    furthest * 255, (unsigned long long)labels);
            cr_expect(!unequal && !labels);
        }
}
