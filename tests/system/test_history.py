"""The history checker: consistent histories pass, and each kind of fault is reported as that kind."""

import os
import tempfile
import time

import pytest

from history import History, check, report


def sound():
    """Three nodes, one live topic, two publishers, a failover from a (epoch 1) to b (epoch 2) at 10. All times in seconds."""
    h = History(bound=1)
    h.led(1, "a/1", 0)
    h.publish("p", "t", b"p1;", 1.0, 1.1, "acknowledged", 1, 0, process="a/1", expected="peers")
    h.publish("q", "t", b"q1;", 1.0, 1.2, "acknowledged", 1, 1)
    h.publish("p", "t", b"p2;", 1.2, 1.3, "acknowledged", 1, 2, process="a/1", expected="peers")
    h.publish("q", "t", b"q2;", 9.9, 10.5, "unknown", expected="peers")
    h.publish("p", "t", b"p3;", 10.1, 10.2, "refused", detail="503 no_leader")
    h.fault("kill", "a", 10.0, 12.0)
    h.led(2, "b/1", 10.9)
    h.publish("p", "t", b"p4;", 11.0, 11.1, "acknowledged", 2, 4, process="b/1", expected="peers")
    log = [(1, 0, b"p1;"), (1, 1, b"q1;"), (1, 2, b"p2;"), (1, 3, b"q2;"), (2, 4, b"p4;")]
    for i, (epoch, offset, value) in enumerate(log):
        h.read("r", "c", "t", epoch, offset, value, 2.0 + 3 * i)
    h.waited("c", "t", 3, 3, 1.4)
    for node in "abc":
        h.final[node] = {"t": list(log)}
        h.sealed[node] = {"t": {0: (77, 100), 3: (78, 90)}}
        h.open[node] = {"t": {5}}
        h.diverged[node] = b""
    return h


def wal():
    """A leader of a WAL topic that is killed at 10 with an unshipped tail: w2 (seen by a reader) and w3."""
    h = History(bound=1)
    h.publish("p", "w", b"w1;", 5.0, 5.1, "acknowledged", 1, 0, "disk")
    h.publish("p", "w", b"w2;", 9.5, 9.6, "acknowledged", 1, 1, "disk")
    h.publish("p", "w", b"w3;", 9.7, 9.8, "acknowledged", 1, 2, "disk")
    h.fault("kill", "a", 10.0, 11.0)
    h.publish("p", "w", b"w4;", 10.5, 10.6, "acknowledged", 2, 1, "disk")
    h.read("r", "a", "w", 1, 0, b"w1;", 6)
    h.read("r", "a", "w", 1, 1, b"w2;", 9.9)
    h.reset("r", "b", "w", 11)
    h.read("r", "b", "w", 1, 0, b"w1;", 11.1)
    h.read("r", "b", "w", 2, 1, b"w4;", 11.2)
    for node in "ab":
        h.final[node] = {"w": [(1, 0, b"w1;"), (2, 1, b"w4;")]}
    h.diverged["a"] = b"head w2; head w3;"
    return h


def change(h, value, **fields):
    """Changes the record of one publish."""
    i = next(i for i, p in enumerate(h.publishes) if p.value == value)
    h.publishes[i] = h.publishes[i]._replace(**fields)


def without(h, offset, *nodes):
    """As if the message at an offset had never been stored: later ones move up."""
    for node in nodes or list(h.final):
        for topic, log in h.final[node].items():
            h.final[node][topic] = [(e, o - (o > offset), v) for e, o, v in log if o != offset]


# ---- what passes

def passes(h):
    found = check(h)
    assert found == [], report(found)


def test_a_sound_history_with_a_failover_passes():
    passes(sound())


def test_an_empty_history_passes():
    passes(History())


def test_an_unknown_outcome_may_be_absent():
    h = sound()
    without(h, 3)
    change(h, b"p4;", offset=3)
    h.reads = [r for r in h.reads if r.offset < 3]
    passes(h)


def test_an_unknown_outcome_may_come_late():
    h = History()
    h.publish("p", "t", b"late;", 1, 2, "unknown")
    h.publish("p", "t", b"next;", 3, 4, "acknowledged", 2, 0)
    h.final["a"] = {"t": [(2, 0, b"next;"), (2, 1, b"late;")]}
    passes(h)


def test_two_at_the_same_time_may_stand_either_way():
    h = History()
    h.publish("p", "t", b"x;", 1, 3, "acknowledged", 1, 1)
    h.publish("q", "t", b"y;", 2, 4, "acknowledged", 1, 0)
    h.final["a"] = {"t": [(1, 0, b"y;"), (1, 1, b"x;")]}
    passes(h)


def test_wal_may_lose_what_was_not_shipped_when_it_is_kept_aside():
    passes(wal())


def test_a_wiped_disk_keeps_nothing_aside():
    h = wal()
    h.diverged.clear()
    h.wiped.add("a")
    passes(h)


def test_what_retention_removed_is_not_lost():
    h = sound()
    for topics in h.final.values():
        topics["t"] = topics["t"][3:]
    for node in "abc":
        del h.sealed[node]["t"][0]
    passes(h)


def test_an_end_that_was_kept_differently_by_retention_is_the_same():
    h = sound()
    h.final["b"]["t"] = h.final["b"]["t"][2:]
    del h.sealed["b"]["t"][0]
    passes(h)


def test_the_last_file_may_be_sealed_on_one_node_only():
    h = sound()
    h.sealed["b"]["t"].pop(3)
    h.open["b"]["t"] = {3}
    h.open["a"]["t"] = h.open["c"]["t"] = set()
    passes(h)


def test_a_reader_may_go_on_at_another_node():
    h = sound()
    h.reads[3] = h.reads[3]._replace(node="b")
    passes(h)


def test_a_large_history_is_checked_in_seconds():
    h, log = History(), []
    for i in range(100000):
        value = b"v%d;" % i
        h.publish("p%d" % (i % 8), "t", value, i, i + 4, "acknowledged", 1, i)
        log.append((1, i, value))
        h.read("r", "a", "t", 1, i, value, i + 5)
    for node in "abc":
        h.final[node] = {"t": log}
    began = time.process_time()
    passes(h)
    assert time.process_time() - began < 20


# ---- what is found

def reports(h, *kinds):
    """Expects findings of exactly these kinds; returns the findings."""
    found = check(h)
    assert sorted({f.kind for f in found}) == sorted(kinds), report(found)
    return found


def test_an_acknowledged_value_that_is_nowhere_is_lost():
    h = sound()
    h.publish("p", "t", b"p5;", 12, 12.1, "acknowledged", 2, 5)
    reports(h, "lost")


def test_a_hole_that_later_messages_filled_is_lost_and_moved():
    h = sound()
    without(h, 2)
    h.reads.clear()
    reports(h, "lost", "moved", "two_values")


def test_a_topic_that_is_gone_is_lost():
    h = sound()
    h.reads.clear()
    for node in "abc":
        h.final[node].clear()
    assert len(reports(h, "lost")) == 4


def test_a_message_acknowledged_by_peers_is_lost_even_in_a_fault():
    h = sound()
    h.publish("q", "t", b"q3;", 9.8, 9.99, "acknowledged", 1, 4)
    reports(h, "lost")


def test_another_message_in_its_place_is_two_values():
    h = sound()
    change(h, b"q1;", offset=2)
    reports(h, "moved", "two_values")


def test_a_retry_that_was_stored_twice_is_duplicated():
    h = sound()
    for node in "abc":
        h.final[node]["t"].append((2, 5, b"q2;"))
    h.reads.pop()
    h.reads.pop()
    assert "duplicated" in {f.kind for f in check(h)}


def test_a_duplicate_on_one_node_is_found_there():
    h = sound()
    h.final["c"]["t"].append((2, 5, b"p4;"))
    assert {f.kind for f in check(h)} & {"duplicated", "nodes_differ"} == {"duplicated", "nodes_differ"}


def test_a_value_of_nobody_is_forged():
    h = sound()
    for node in "abc":
        h.final[node]["t"].append((2, 5, b"p4"))
    reports(h, "forged")


def test_a_value_in_another_topic_is_forged():
    h = sound()
    h.publish("p", "u", b"u1;", 12, 13, "unknown")
    for node in "abc":
        h.final[node]["t"].append((2, 5, b"u1;"))
    reports(h, "forged")


def test_a_refusal_that_appears_is_found():
    h = sound()
    for node in "abc":
        h.final[node]["t"].append((2, 5, b"p3;"))
    reports(h, "refused")


def test_a_refusal_that_was_kept_aside_was_stored_all_the_same():
    h = sound()
    h.diverged["a"] = b"...p3;..."
    reports(h, "refused")


def test_a_refusal_that_a_reader_saw_is_found():
    h = sound()
    h.reads[4] = h.reads[4]._replace(value=b"p3;", epoch=1)
    reports(h, "refused")


def test_one_publishers_messages_out_of_order_are_reordered():
    h = History()
    h.publish("p", "t", b"1;", 1, 2, "acknowledged", 1, 1)
    h.publish("p", "t", b"2;", 3, 4, "acknowledged", 1, 0)
    h.final["a"] = {"t": [(1, 0, b"2;"), (1, 1, b"1;")]}
    reports(h, "reordered")


def test_two_publishers_against_real_time_are_reordered():
    h = History()
    h.publish("p", "t", b"1;", 1, 2, "acknowledged", 1, 2)
    h.publish("q", "t", b"2;", 1, 9, "acknowledged", 1, 1)
    h.publish("r", "t", b"3;", 3, 4, "acknowledged", 1, 0)
    h.final["a"] = {"t": [(1, 0, b"3;"), (1, 1, b"2;"), (1, 2, b"1;")]}
    assert len(reports(h, "reordered")) == 2


def test_an_old_leader_that_acknowledges_for_peers_after_the_new_one_is_reordered():
    h = sound()
    h.publish("q", "t", b"q9;", 20, 21, "acknowledged", 1, 4)      # epoch 1, long after epoch 2 began
    reports(h, "lost", "reordered")


def test_an_unknown_value_that_was_sent_later_and_stands_earlier_is_reordered():
    h = History()
    h.publish("p", "t", b"1;", 1, 2, "acknowledged", 1, 1)
    h.publish("q", "t", b"2;", 3, 4, "unknown")
    h.final["a"] = {"t": [(1, 0, b"2;"), (1, 1, b"1;")]}
    reports(h, "reordered")


def test_two_acknowledgements_of_one_place_are_two_values():
    h = wal()
    h.publish("q", "w", b"w9;", 9.7, 9.8, "acknowledged", 1, 2, "disk")
    h.diverged["a"] += b"w9;"
    reports(h, "two_values")


def test_nodes_with_different_messages_at_one_offset_differ():
    h = sound()
    h.publish("q", "t", b"q3;", 12, 13, "unknown")
    h.publish("q", "t", b"q4;", 12, 13, "unknown")
    h.final["a"]["t"].append((2, 5, b"q3;"))
    h.final["b"]["t"].append((3, 5, b"q4;"))
    h.final["c"]["t"].append((3, 5, b"q4;"))
    reports(h, "nodes_differ")


def test_a_node_that_lacks_the_end_differs():
    h = sound()
    h.final["c"]["t"].pop()
    reports(h, "nodes_differ")


def test_a_node_that_lacks_a_topic_differs():
    h = sound()
    h.final["b"].clear()
    del h.sealed["b"], h.open["b"]
    assert len(reports(h, "nodes_differ")) == 2


def test_a_hole_in_a_nodes_log_is_not_dense():
    h = sound()
    for node in "abc":
        h.final[node]["t"][4] = (2, 5, b"p4;")
    change(h, b"p4;", offset=5)
    h.reads.pop()
    reports(h, "not_dense")


def test_an_epoch_that_falls_is_not_dense():
    h = sound()
    for node in "abc":
        h.final[node]["t"][3] = (3, 3, b"q2;")
    h.reads = h.reads[:3]
    reports(h, "not_dense")


def test_a_read_of_what_is_not_there_at_the_end_vanished():
    h = sound()
    h.publish("q", "t", b"q3;", 9.8, 10.9, "unknown", expected="peers")
    h.read("s", "a", "t", 1, 4, b"q3;", 9.9)
    reports(h, "vanished")


def test_a_wal_read_before_the_window_may_not_vanish():
    h = wal()
    h.publish("q", "w", b"q1;", 5, 12, "unknown")
    h.read("s", "a", "w", 1, 1, b"q1;", 8.9)
    assert {f.kind for f in check(h)} - {"two_values"} == {"vanished"}


def test_a_hole_in_what_a_reader_saw_is_skipped():
    h = sound()
    del h.reads[2]
    reports(h, "skipped")


def test_a_reader_that_is_given_an_offset_again_went_backwards():
    h = sound()
    h.reads.insert(2, h.reads[1])
    reports(h, "backwards")


def test_a_reader_that_is_not_told_of_a_cut_switched():
    h = wal()
    h.resets.clear()
    h.reads = h.reads[:2]
    h.publish("p", "w", b"w5;", 11, 11.5, "acknowledged", 2, 2, "disk")
    h.read("r", "b", "w", 2, 2, b"w5;", 12)
    for node in "ab":
        h.final[node]["w"].append((2, 2, b"w5;"))
    reports(h, "switched")


def test_a_reader_that_is_told_of_a_cut_that_was_none_had_a_false_alarm():
    h = sound()
    h.reset("r", "c", "t", 6)
    reports(h, "false_alarm")


def test_a_read_that_does_not_reach_its_min_offset_is_stale():
    h = sound()
    h.waited("b", "t", 4, 3, 12)
    reports(h, "stale")


def test_acknowledgements_of_one_epoch_from_two_nodes_are_two_leaders():
    h = sound()
    change(h, b"p2;", process="b/1")
    reports(h, "two_leaders")


def test_a_node_seen_leading_an_epoch_of_another_is_two_leaders():
    h = sound()
    h.led(2, "c/1", 13)
    reports(h, "two_leaders")


def test_an_epoch_that_outlived_its_process_is_two_leaders():
    h = sound()
    h.led(2, "b/2", 13)
    reports(h, "two_leaders")


def test_a_node_that_follows_two_leaders_of_one_epoch_broke_its_promise():
    h = sound()
    h.promises["c"] = [(1, "a:1"), (2, "b:1"), (2, "b:1")]
    h.promises["a"] = [(2, "b:1"), (2, "c:1")]
    reports(h, "promise")


def test_a_node_that_follows_an_older_epoch_broke_its_promise():
    h = sound()
    h.promises["c"] = [(1, "a:1"), (2, "b:1"), (1, "a:1")]
    reports(h, "promise")


def test_an_acknowledgement_below_the_topics_mode_is_downgraded():
    h = sound()
    change(h, b"p2;", committed="disk")
    reports(h, "downgraded")


def test_a_byte_in_a_sealed_file_is_files_differ():
    h = sound()
    h.sealed["b"]["t"][0] = (79, 100)
    assert len(reports(h, "files_differ")) == 2


def test_a_file_that_ends_elsewhere_is_files_differ():
    h = sound()
    h.sealed["c"]["t"][2] = h.sealed["c"]["t"].pop(3)
    reports(h, "files_differ")


def test_an_older_file_that_one_node_never_sealed_is_files_differ():
    h = sound()
    h.open["c"]["t"] = {0}
    h.sealed["c"]["t"].clear()
    reports(h, "files_differ")


def test_wal_loses_nothing_from_before_the_window():
    h = wal()
    change(h, b"w2;", invoked=8.7, ended=8.9)
    h.reads = [r for r in h.reads if r.offset == 0 and r.node == "b"]
    reports(h, "lost")


def test_wal_loses_nothing_when_there_was_no_fault():
    h = wal()
    h.faults.clear()
    reports(h, "lost", "vanished")


def test_wal_loses_nothing_that_was_sent_after_the_fault():
    h = wal()
    h.publish("p", "w", b"w5;", 12.1, 12.2, "acknowledged", 2, 2, "disk")
    reports(h, "lost")


def test_a_wal_tail_that_no_node_kept_aside_left_no_trace():
    h = wal()
    h.diverged["a"] = b"head w2;"
    reports(h, "no_trace")


def test_a_value_twice_in_a_history_is_a_mistake_of_the_test():
    h = sound()
    h.publish("p", "t", b"p1;", 20, 21, "unknown")
    with pytest.raises(ValueError):
        check(h)


def test_a_history_can_be_kept_for_a_report():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "history")
        sound().save(path)
        with open(path) as f:
            assert '"value": "p1;"' in f.read()
