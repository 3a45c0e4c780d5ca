/* assign.c: which ranks take which devices, on machines that nobody here has. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/backends/support.h"

enum { RANKS = 8, ROWS = 8 };

static cdu_device_row rows[RANKS][ROWS];
static cdu_gpu_seat seats[RANKS];
static char ids[RANKS][24];

#define POCL row("opencl:0", "pthread-znver4", "Portable Computing Language 3.1", CDU_CPU, "")
#define LAVAPIPE row("vulkan:0", "llvmpipe (LLVM 15)", "llvmpipe Mesa 22", CDU_CPU, "6d65")
#define CARD(id, driver, place) row(id, "Radeon " place, driver, CDU_DISCRETE, "pci 0000:" place ":00.0")

/* Rank r sees those rows, on that machine. */
#define SEAT(r, machine_, list_, ...)                                                                              \
    do {                                                                                                           \
        const cdu_device_row seen[] = {__VA_ARGS__};                                                               \
        memcpy(rows[r], seen, sizeof seen);                                                                        \
        seats[r] = (cdu_gpu_seat){machine_, "host-" machine_, list_, rows[r], sizeof seen / sizeof *seen};         \
    } while (0)

/* "opencl:0 vulkan:1", or the words of the failure behind its status. */
static const char *assigned(uint32_t size, bool oversubscribe)
{
    static char text[1200];
    cdu_error error = {0};
    cdu_status status = cdu_gpu_assign(seats, size, oversubscribe, ids, &error);
    text[0] = 0;
    if (status != CDU_OK) {
        snprintf(text, sizeof text, "%d %s", (int)status, error.words);
        return text;
    }
    for (uint32_t r = 0; r < size; r++) snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", r ? " " : "", ids[r]);
    return text;
}

static void fails(uint32_t size, cdu_status status, const char *part, const char *other)
{
    const char *text = assigned(size, false);
    cr_assert(atoi(text) == (int)status && strstr(text, part) && strstr(text, other), "%s", text);
}

/* Two cards, each seen through two runtimes, the runtimes in different orders. */
#define TWO_CARDS                                                                                                              \
    POCL, CARD("opencl:1", "ROCm", "03"), CARD("opencl:2", "ROCm", "04"), LAVAPIPE, CARD("vulkan:1", "radv", "04"), CARD("vulkan:2", "radv", "03")

Test(assign, one_card_is_one_through_all_runtimes)
{
    for (int r = 0; r < 3; r++) SEAT(r, "a", "auto", TWO_CARDS);
    cr_assert_str_eq(assigned(2, false), "opencl:1 opencl:2");
    fails(3, CDU_NO_DEVICE, "host-a has 2 devices for 3 ranks: opencl:1 (Radeon 03), opencl:2 (Radeon 04); rank 2", "--oversubscribe");
    cr_assert_str_eq(assigned(3, true), "opencl:1 opencl:2 opencl:1");
    for (int r = 0; r < 4; r++) SEAT(r, "a", NULL, TWO_CARDS);
    cr_assert_str_eq(assigned(4, true), "opencl:1 opencl:2 opencl:1 opencl:2");
    for (int r = 0; r < 4; r++) seats[r].list = "vulkan:1,auto,auto,auto";
    cr_assert_str_eq(assigned(4, true), "vulkan:1 opencl:1 opencl:1 opencl:2"); /* named, chosen, then one more on each */
}

Test(assign, machines_do_not_disturb_each_other)
{
    SEAT(0, "a", "auto", TWO_CARDS);
    SEAT(1, "b", "auto", TWO_CARDS);
    SEAT(2, "a", "auto", TWO_CARDS);
    SEAT(3, "b", "auto", TWO_CARDS);
    cr_assert_str_eq(assigned(4, false), "opencl:1 opencl:1 opencl:2 opencl:2");
    SEAT(3, "b", "auto", POCL, LAVAPIPE); /* a driver that this rank alone lacks */
    fails(4, CDU_NO_DEVICE, "rank 3 on host-b sees no GPU", "name a device");
}

Test(assign, processors)
{
    SEAT(0, "a", "auto", POCL, LAVAPIPE);
    SEAT(1, "a", "auto", POCL, LAVAPIPE);
    cr_assert_str_eq(assigned(1, false), "opencl:0");
    fails(2, CDU_NO_DEVICE, "host-a has 1 device for 2 ranks: opencl:0 (pthread-znver4)", "rank 1");
    cr_assert_str_eq(assigned(2, true), "opencl:0 opencl:0");
    SEAT(0, "a", "opencl:0,vulkan:0", POCL, LAVAPIPE);
    SEAT(1, "a", "opencl:0,vulkan:0", POCL, LAVAPIPE);
    cr_assert_str_eq(assigned(2, false), "opencl:0 vulkan:0");
    SEAT(0, "a", "opencl:0", POCL, LAVAPIPE);
    SEAT(1, "a", "opencl:0", POCL, LAVAPIPE);
    cr_assert_str_eq(assigned(2, false), "opencl:0 opencl:0");
    SEAT(0, "a", "opencl:0,auto", POCL, LAVAPIPE);
    SEAT(1, "a", "opencl:0,auto", POCL, LAVAPIPE);
    fails(2, CDU_NO_DEVICE, "1 device for 2 ranks", "rank 1 gets none");
    SEAT(0, "a", "null:0", POCL);
    SEAT(1, "a", "null:0", POCL);
    cr_assert_str_eq(assigned(2, false), "null:0 null:0");
    seats[0] = (cdu_gpu_seat){"a", "host-a", "auto", NULL, 0};
    fails(1, CDU_NO_DEVICE, "rank 0 on host-a", "install");
}

Test(assign, lists)
{
    const char *all = "opencl:1,vulkan:1,radeon 03,radeon 04", *each = "vulkan:2,opencl:2";
    for (int r = 0; r < 4; r++) SEAT(r, "a", all, TWO_CARDS);
    seats[2].machine = seats[3].machine = "b";
    cr_assert_str_eq(assigned(4, false), "opencl:1 vulkan:1 opencl:1 opencl:2");
    for (int r = 0; r < 4; r++) seats[r].list = each;
    cr_assert_str_eq(assigned(4, false), "vulkan:2 opencl:2 vulkan:2 opencl:2");
    seats[1].list = "opencl:9,opencl:9";
    fails(4, CDU_NO_DEVICE, "rank 1 on host-a: there is no device \"opencl:9\"", "vulkan:2");
    seats[1].list = "opencl:1,opencl:2,vulkan:2";
    fails(4, CDU_USAGE, "3 devices are named; 4 ranks, 2 of them on host-a", "one for each on its machine");
    seats[1].list = "opencl:1,";
    fails(4, CDU_USAGE, "nothing is named for rank 1", "opencl:1,");
    for (int r = 0; r < 4; r++) seats[r].list = "auto,vulkan:2"; /* what is named is not chosen again */
    cr_assert_str_eq(assigned(4, false), "opencl:2 vulkan:2 opencl:2 vulkan:2");
}

Test(assign, a_card_named_twice)
{
    for (int r = 0; r < 2; r++) SEAT(r, "a", "opencl:1,vulkan:2", TWO_CARDS);
    fails(2, CDU_USAGE, "ranks 0 and 1, both on host-a", "opencl:1 (Radeon 03) and vulkan:2 (Radeon 03) are the same (pci 0000:03:00.0)");
    cr_assert_str_eq(assigned(2, true), "opencl:1 vulkan:2");
    seats[0].list = seats[1].list = "vulkan:1";
    fails(2, CDU_USAGE, "would have one card, vulkan:1 (Radeon 04)", "--oversubscribe");
    seats[1].machine = "b";
    cr_assert_str_eq(assigned(2, false), "vulkan:1 vulkan:1");
}

/* Ranks that a scheduler lets see some cards only: the one that sees both must not take the other's. */
Test(assign, ranks_that_see_different_cards)
{
    SEAT(0, "a", "auto", CARD("vulkan:0", "radv", "03"), CARD("vulkan:1", "radv", "04"), CARD("vulkan:2", "radv", "05"));
    SEAT(1, "a", "auto", CARD("vulkan:0", "radv", "03"));
    SEAT(2, "a", "auto", CARD("vulkan:0", "radv", "03"), CARD("vulkan:1", "radv", "04"));
    cr_assert_str_eq(assigned(3, false), "vulkan:2 vulkan:0 vulkan:1");
    SEAT(2, "a", "auto", CARD("vulkan:0", "radv", "03"));
    fails(3, CDU_NO_DEVICE, "host-a has 1 device for 3 ranks", "rank 2 gets none");
}

Test(assign, better_devices_first)
{
    for (int r = 0; r < 2; r++)
        SEAT(r, "a", "auto", POCL, row("opencl:1", "Iris Xe", "NEO", CDU_INTEGRATED, "pci 0000:00:02.0"), CARD("vulkan:0", "radv", "03"));
    cr_assert_str_eq(assigned(1, false), "vulkan:0");
    cr_assert_str_eq(assigned(2, false), "vulkan:0 opencl:1");
    SEAT(2, "a", "auto", POCL, row("opencl:1", "Iris Xe", "NEO", CDU_INTEGRATED, "pci 0000:00:02.0"), CARD("vulkan:0", "radv", "03"));
    fails(3, CDU_NO_DEVICE, "2 devices for 3 ranks", "rank 2"); /* not the processor */
}

/* A driver that does not say which card it is may show one that another driver shows too. */
Test(assign, cards_that_do_not_say_which_they_are)
{
    for (int r = 0; r < 2; r++)
        SEAT(r, "a", "auto", row("opencl:0", "Radeon", "old", CDU_DISCRETE, ""), CARD("vulkan:0", "radv", "03"));
    cr_assert_str_eq(assigned(1, false), "vulkan:0");
    fails(2, CDU_NO_DEVICE, "1 device for 2 ranks", "vulkan:0");
    for (int r = 0; r < 3; r++)
        SEAT(r, "a", "auto", row("opencl:0", "Radeon", "old", CDU_DISCRETE, ""), row("opencl:1", "Radeon", "old", CDU_DISCRETE, ""),
             row("vulkan:0", "Radeon", "older", CDU_DISCRETE, ""));
    cr_assert_str_eq(assigned(2, false), "opencl:0 opencl:1");
    fails(3, CDU_NO_DEVICE, "2 devices for 3 ranks", "opencl:1");
    for (int r = 0; r < 2; r++) seats[r].list = "opencl:0,vulkan:0"; /* whoever names them knows better */
    cr_assert_str_eq(assigned(2, false), "opencl:0 vulkan:0");
    for (int r = 0; r < 2; r++) seats[r].list = "opencl:0";
    fails(2, CDU_USAGE, "would have one card, opencl:0", "share");
    snprintf(rows[1][0].info.driver, sizeof rows[1][0].info.driver, "another"); /* ranks with different drivers */
    cr_assert_str_eq(assigned(2, false), "opencl:0 opencl:0");
}
