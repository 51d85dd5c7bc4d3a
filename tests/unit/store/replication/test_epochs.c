#include "unit/journals.h"
#include "command/verify.h"

#include "base/crc32c.h"

enum { BATCHES_MAX = 400 };

/* The batches that were appended, for comparison. */
static struct batch_head kept[BATCHES_MAX];
static int kept_count;

static void append_epochs(struct journal *j, int count)
{
    for (int i = 0; i < count; i++) {
        if (rand() % 9 == 0)
            j->marks.epoch += 1 + (uint64_t)rand() % 3;
        append_some(j, 1 + (uint32_t)rand() % 4, (size_t)rand() % 6000);
        kept[kept_count++] = (struct batch_head){.epoch = j->marks.epoch, .first = j->marks.tail};
        if (rand() % 5 == 0)
            store_flush(j->store);
    }
}

/* Finds the answer by reading all batches. */
static void check_epoch_end(struct journal *j, uint64_t epoch)
{
    uint64_t found = 77, end = 77, want_found = 0, want_end = journal_first(j);
    for (int i = 0; i < kept_count && kept[i].epoch <= epoch; i++) {
        if (kept[i].first <= journal_first(j))
            continue;
        want_found = kept[i].epoch;
        want_end = kept[i].first;          /* which is where the next one begins */
    }
    CHECK_EQ(journal_epoch_end(j, epoch, &found, &end), 0);
    CHECK_EQ(found, want_found);
    CHECK_EQ(end, want_end);
}

TEST(test_the_end_of_the_present_epoch_is_known_without_a_write)
{
    struct store *s = open_store();
    struct journal *j = open_journal(s, "t");
    uint64_t found, end;
    append_some(j, 3, 100);
    size_t pending = buf_size(&j->pending);
    CHECK(pending > 0);
    CHECK_EQ(journal_epoch_end(j, j->marks.epoch, &found, &end), 0);
    CHECK_EQ(found, j->marks.epoch);
    CHECK_EQ(end, 3);
    CHECK_EQ(buf_size(&j->pending), pending);
    settle_store(s);
    store_close(s);
}

TEST(test_the_end_of_every_epoch_is_found)
{
    skip_syncs();
    srand(3);
    struct journal_options o = small_files;
    o.segment_bytes = 150 * KIB;
    struct store *s = open_store_with((struct store_options){.files_max = 3});
    struct journal *j = open_journal_with(s, "t", o);
    check_epoch_end(j, 5);
    for (int life = 0; life < 6; life++) {
        append_epochs(j, 60);
        for (uint64_t epoch = 0; epoch <= j->marks.epoch + 2; epoch++)
            check_epoch_end(j, epoch);
        if (life == 4)
            CHECK(journal_apply_retention(j, &(struct retain){.bytes = 300 * KIB}, 0, UINT64_MAX) > 0);
        store_flush(s);
        if (life % 2)
            store_close(s);
        else
            abandon_store(s);
        s = open_store_with((struct store_options){.files_max = 3});
        j = open_journal_with(s, "t", o);
        for (uint64_t epoch = 0; epoch <= j->marks.epoch + 2; epoch++)
            check_epoch_end(j, epoch);
    }
    CHECK(j->marks.epoch > 40);
    CHECK(j->parts.count > 1);
    CHECK_EQ(journal_begin_empty(j), 0);       /* a file without batches is of no epoch */
    j->parts.active->epoch = 1000;
    for (uint64_t epoch = 0; epoch <= j->marks.epoch + 2; epoch++)
        check_epoch_end(j, epoch);
    store_close(s);
}

TEST(test_the_batch_before_an_offset_is_found_or_said_not_to_be)
{
    skip_syncs();
    struct store *s = open_store();
    struct journal *j = open_journal_with(s, "t", ten_each);
    for (int i = 0; i < 12; i++)
        append_some(j, 2, 20);
    struct batch_head head;
    for (uint64_t end = 0; end <= 26; end++) {
        int rc = journal_batch_before(j, end, &head);
        CHECK_EQ(rc, end == 0 || end % 2 || end > 24 ? -ERR_BAD_RANGE : 0);
        if (rc == 0)
            CHECK_EQ(head.first + head.count, end);
    }
    settle_store(s);
    CHECK_EQ(journal_apply_retention(j, &(struct retain){.messages = 1}, 0, UINT64_MAX), 2);
    CHECK_EQ(journal_batch_before(j, 10, &head), -ERR_GONE);
    CHECK_EQ(journal_batch_before(j, 20, &head), -ERR_GONE);
    CHECK_EQ(journal_batch_before(j, 22, &head), 0);
    store_close(s);
}

/* Damages each header that an answer could depend on: the answer is right, or an error. */
TEST(test_a_damaged_head_answers_no_question_about_epochs)
{
    skip_syncs();
    struct store *s = open_store();
    struct journal *j = open_journal(s, "t");
    uint64_t position[20];
    for (int i = 0; i < 20; i++) {
        position[i] = j->parts.active ? j->parts.active->size : FILE_HEAD_SIZE;
        j->marks.epoch = 1 + (uint64_t)i / 4;
        append_some(j, 1, 3000);
    }
    settle_store(s);
    int refused = 0;
    for (int i = 0; i < 20; i++)
        for (uint64_t wrong = 0; wrong < 9; wrong++) {
            uint64_t right = 1 + (uint64_t)i / 4, found, end;
            change_file(FILE_0, position[i] + 24, slice_of((char *)&wrong, 8));
            for (uint64_t epoch = 1; epoch < 6; epoch++) {
                int rc = journal_epoch_end(j, epoch, &found, &end);
                refused += rc < 0;
                if (rc < 0)
                    CHECK_EQ(rc, -ERR_DAMAGED);
                else
                    CHECK(found == epoch && end == epoch * 4);
            }
            struct batch_head head;
            CHECK_EQ(journal_batch_before(j, (uint64_t)i + 1, &head), wrong == right ? 0 : -ERR_DAMAGED);
            change_file(FILE_0, position[i] + 24, slice_of((char *)&right, 8));
            segment_forget_hints(j->parts.active);
            j->parts.active->scanned = false;
        }
    CHECK(refused > 50);
    abandon_store(s);
}

/* -- which epochs this node led ------------------------------------------------------------------------------------ */

TEST(test_epochs_that_were_led_are_kept_in_ranges_and_the_oldest_forgotten)
{
    struct state st = {.epoch = 3}, got;
    CHECK_EQ(mkdir("data", 0755), 0);
    for (uint64_t epoch = 1; epoch <= 5; epoch++)
        state_led_add(&st, epoch);
    state_led_add(&st, 8);
    state_led_add(&st, 8);
    CHECK_EQ(st.led_count, 2);
    CHECK_EQ(state_save("data", &st), 0);
    CHECK_EQ(state_load("data", &got), 0);
    for (uint64_t epoch = 0; epoch < 12; epoch++)
        CHECK_EQ(state_led(&got, epoch), (epoch >= 1 && epoch <= 5) || epoch == 8);
    for (uint64_t epoch = 10; epoch < 10 + 2 * 3 * LED_RANGES_MAX; epoch += 2)
        state_led_add(&got, epoch);
    CHECK_EQ(got.led_count, LED_RANGES_MAX);
    CHECK(!state_led(&got, 3));
    CHECK(state_led(&got, 10 + 2 * (3 * LED_RANGES_MAX - 1)));
    CHECK_EQ(state_save("data", &got), 0);
    CHECK_EQ(state_load("data", &st), 0);
    CHECK_EQ(memcmp(st.led, got.led, sizeof st.led), 0);
}

static void change_led(uint64_t first, uint64_t last)
{
    struct state st;
    CHECK_EQ(state_load("data", &st), 0);
    st.led[0] = (struct led){first, last};
    st.led_count = first <= last;
    CHECK_EQ(state_save("data", &st), 0);
}

static struct store *open_store_as_it_is(void)
{
    struct buf why = {0};
    struct store *s;
    CHECK_EQ(store_open(&(struct store_options){.path = "data", .node_name = "n1", .files_max = 8}, &s, &why), 0);
    return s;
}

/* Ten batches of epoch 1, each of which states the mark before it; the sixth is damaged, and power was lost. */
static void spoiled_topic(void)
{
    struct store *s = open_store();
    struct journal *j = open_journal(s, "t");
    uint64_t position = 0;
    for (int i = 0; i < 10; i++) {
        position = i == 5 ? j->parts.active->size : position;
        append_some(j, 1, 40);
        settle_store(s);
    }
    abandon_store(s);
    change_file(FILE_0, position + 70, SLICE("\xff\xfe"));
}

static void check_recovers(uint64_t tail, uint32_t damaged)
{
    struct store *s = open_store_as_it_is();
    struct journal *j = open_journal(s, "t");
    CHECK_EQ(j->marks.tail, tail);
    CHECK_EQ(j->damage.count, damaged);
    abandon_store(s);
}

TEST(test_the_mark_of_a_batch_covers_the_disk_of_the_node_that_led_its_epoch)
{
    spoiled_topic();
    change_led(1, 1);
    check_recovers(10, 1);
}

TEST(test_what_was_received_is_torn_by_a_power_loss_and_not_damaged)
{
    spoiled_topic();
    change_led(2, 3);
    CHECK_EQ(data_verify("data"), 0);
    check_recovers(5, 0);
    CHECK(exists("data/torn/t-5-0.bin"));
}

TEST(test_what_was_received_is_damaged_below_its_own_checkpoint)
{
    spoiled_topic();
    change_led(2, 3);
    struct checkpoint c = {.sequence = 1, .first = 77, .position = 64, .next = 77, .disk = 7};
    CHECK_EQ(mkdir("data/topics/t", 0755), 0);            /* a crash came between making it and moving the file */
    CHECK_EQ(checkpoint_save("data/topics/t/checkpoint", &c), 0);
    CHECK_EQ(data_verify("data"), 1);
    check_recovers(10, 1);
}

TEST(test_a_node_that_lost_its_state_takes_every_mark_as_its_own)
{
    spoiled_topic();
    CHECK_EQ(unlink("data/state"), 0);
    check_recovers(10, 1);
    struct state st;
    CHECK_EQ(state_load("data", &st), 0);
    CHECK(state_led(&st, 1));
}

TEST(test_a_state_from_before_there_were_clusters_led_all_it_had)
{
    spoiled_topic();
    slice text = read_whole("data/state");
    struct buf old = {0};
    for (slice line; slice_split(&text, '\n', &line);)
        if (!slice_starts(line, SLICE("led=")) && !slice_starts(line, SLICE("crc=")))
            buf_addf(&old, "%.*s\n", SLICE_ARGS(slice_starts(line, SLICE("epoch=")) ? SLICE("epoch=4") : line));
    buf_addf(&old, "crc=%08x\n", crc32c(0, old.data, buf_size(&old)));
    put_file("data/state", buf_slice(&old));
    buf_fini(&old);
    struct state st;
    CHECK_EQ(state_load("data", &st), 0);
    CHECK(state_led(&st, 4));
    CHECK(!state_led(&st, 5));
    check_recovers(10, 1);
}

TEST(test_the_highest_mark_that_was_stated_outlives_a_restart_however_it_comes)
{
    for (int kill = 0; kill < 2; kill++) {
        struct store *s = open_store();
        struct journal *j = open_journal(s, "t");
        struct journal_info info;
        struct buf messages = {0};
        message_write(&messages, &(struct message){.payload = SLICE("m")});
        for (uint64_t i = 0; i < 10; i++) {
            uint64_t first;
            struct append a = {.messages = buf_slice(&messages), .count = 1, .epoch = 1, .has_stated = true,
                               .stated = i < 3 ? 0 : 3};
            CHECK_EQ(journal_append(j, &a, &first), 0);
            settle_store(s);
        }
        struct append wrong = {.messages = buf_slice(&messages), .count = 1, .epoch = 1, .has_stated = true,
                               .stated = j->marks.tail + 1};
        uint64_t first;
        CHECK_EQ(journal_append(j, &wrong, &first), -EINVAL);
        if (kill)
            abandon_store(s);
        else
            store_close(s);
        s = open_store();
        j = open_journal(s, "t");
        journal_info(j, &info);
        CHECK_EQ(info.stated, 3);
        CHECK_EQ(info.tail, 10);
        store_close(s);
        s = open_store();                      /* and once more, from the checkpoint alone */
        j = open_journal(s, "t");
        journal_info(j, &info);
        CHECK_EQ(info.stated, 3);
        store_close(s);
        buf_fini(&messages);
        CHECK_EQ(run("rm -r data"), 0);
    }
}
