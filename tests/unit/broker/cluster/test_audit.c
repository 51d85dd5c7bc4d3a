/* The audit finds sealed files, one after the other, among topics that have none. */
#include "broker/cluster/audit.h"

#include "unit/cluster_rig.h"

static unsigned audited;
static uint64_t last_first;

static void on_audited(void *arg, struct topic *t, const struct file_info *file, int rc)
{
    (void)arg;
    CHECK_EQ(rc, 0);
    CHECK(strcmp(t->name, "t") == 0);
    CHECK(audited % 3 == 0 ? file->first == 0 : file->first == last_first + 10);
    last_first = file->first;
    audited++;
}

TEST(test_sealed_files_are_audited_in_turn_also_behind_more_topics_than_one_step_sees)
{
    rig_up(2);
    struct node *a = &rig.nodes[0], *b = &rig.nodes[1];
    make_many(a, b, 2 * LOOK_STEP);
    struct topic_settings s = settings_of(REPLICATION_LIVE);
    s.segment_messages = 10;
    struct topic *t = make_topic(a, "t", &s);
    publish(t, 35, 100);
    WAIT_UNTIL(run("test -e n1/topics/t/00000000000000000020.log") == 0);
    struct auditor *auditor = auditor_new(&(struct auditor_options){
        .loop = &rig.loop, .topics = a->topics, .pause_ns = 1, .audited = on_audited});
    WAIT_UNTIL(audited == 6);
    auditor_free(auditor);
    turn_for(10);                    /* the disk thread may be reading a file for it */
    rig_down();
}
