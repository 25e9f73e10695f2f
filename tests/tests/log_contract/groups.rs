//! Groups: who owns what, who hears of it, and who may commit.

use std::collections::BTreeSet;

use pipeline::log::{Commit, Outcome, Position, TopicPartition};

use super::bench::{Bench, Check, Joined, appends, committed, until};

pub(super) const CHECKS: &[Check] = &[
    ("one_member_gets_everything", one_member_gets_everything),
    ("two_members_share_co_partitioned_topics", two_members_share_co_partitioned_topics),
    ("who_leaves_leaves_its_partitions", who_leaves_leaves_its_partitions),
    ("a_newer_member_fences_the_older", a_newer_member_fences_the_older),
    ("partitions_never_started_are_lost_too", partitions_never_started_are_lost_too),
    ("offsets_of_anothers_partition_are_fenced", offsets_of_anothers_partition_are_fenced),
    ("a_revoked_partition_can_still_be_committed", a_revoked_partition_can_still_be_committed),
    ("records_and_offsets_are_one_commit", records_and_offsets_are_one_commit),
    ("groups_do_not_share_offsets", groups_do_not_share_offsets),
    ("a_member_starts_where_it_says", a_member_starts_where_it_says),
    ("pausing_holds_records_back", pausing_holds_records_back),
    ("reconnecting_keeps_members_and_offsets", reconnecting_keeps_members_and_offsets),
];

fn partitions(topics: &[&str], count: u32) -> BTreeSet<TopicPartition> {
    topics.iter().flat_map(|t| (0..count).map(|p| TopicPartition::new(*t, p))).collect()
}

fn offsets(at: &TopicPartition, position: Position) -> Commit {
    Commit { appends: Vec::new(), offsets: vec![(at.clone(), position)] }
}

/// Polls both until each has something and together they have `all`; at no time do they share.
fn settle(one: &mut Joined, two: &mut Joined, all: &BTreeSet<TopicPartition>) {
    until("a shared assignment", || {
        one.step();
        assert!(one.owned.is_disjoint(&two.owned), "assigned before it was revoked");
        two.step();
        assert!(one.owned.is_disjoint(&two.owned), "assigned before it was revoked");
        let together: BTreeSet<_> = one.owned.union(&two.owned).cloned().collect();
        let shared = !one.owned.is_empty() && !two.owned.is_empty();
        (shared && together == *all).then_some(())
    });
}

fn one_member_gets_everything(bench: &Bench<'_>) {
    let (x, y) = (bench.topic("x", 3), bench.topic("y", 2));
    let mut member = bench.join("a", &[&x, &y]);
    let all: BTreeSet<_> = partitions(&[&x], 3).union(&partitions(&[&y], 2)).cloned().collect();
    member.until("all partitions", |member| member.owned == all);
    for at in &all {
        bench.append_each(at, &["a"]);
    }
    member.until("a record of each", |member| member.read.len() == all.len());
    let read: BTreeSet<_> = member.read.iter().map(|read| read.at.clone()).collect();
    assert_eq!(read, all);
}

fn two_members_share_co_partitioned_topics(bench: &Bench<'_>) {
    let (x, y) = (bench.topic("x", 4), bench.topic("y", 4));
    let all = partitions(&[&x, &y], 4);
    let mut one = bench.join("a", &[&x, &y]);
    one.until("all partitions", |member| member.owned == all);
    let mut two = bench.join("b", &[&x, &y]);
    settle(&mut one, &mut two, &all);
    for member in [&one, &two] {
        let of = |topic: &str| -> Vec<u32> {
            member.owned.iter().filter(|at| &*at.topic == topic).map(|at| at.partition).collect()
        };
        assert_eq!(of(&x), of(&y), "co-partitioned topics are assigned alike");
        assert_eq!(of(&x).len(), 2, "and shared out evenly");
    }
}

fn who_leaves_leaves_its_partitions(bench: &Bench<'_>) {
    let topic = bench.topic("topic", 4);
    let all = partitions(&[&topic], 4);
    let (mut one, mut two) = (bench.join("a", &[&topic]), bench.join("b", &[&topic]));
    settle(&mut one, &mut two, &all);
    drop(one);
    two.until("the other's partitions", |member| member.owned == all);
}

fn a_newer_member_fences_the_older(bench: &Bench<'_>) {
    let topic = bench.topic("topic", 2);
    let all = partitions(&[&topic], 2);
    let at = TopicPartition::new(topic.as_str(), 0);
    let mut older = bench.join("a", &[&topic]);
    older.until("all partitions", |member| member.owned == all);
    let mut newer = bench.join("a", &[&topic]);
    newer.until("all partitions", |member| member.owned == all);
    let outcome = older.member.commit(appends(&at, &["too late"])).wait();
    assert!(matches!(outcome, Outcome::Fenced(_)), "{outcome:?}");
    older.until("to hear of it", |member| member.lost.is_some());
    assert_eq!(older.lost, Some(all));
    let outcome = older.member.commit(offsets(&at, Position::default())).wait();
    assert!(matches!(outcome, Outcome::Fenced(_)), "{outcome:?}");
    committed(newer.member.as_mut(), appends(&at, &["newer"]));
    drop(older);
    newer.until("its record", |member| member.texts() == ["newer"]);
}

fn partitions_never_started_are_lost_too(bench: &Bench<'_>) {
    let topic = bench.topic("topic", 2);
    let mut older = bench.join("a", &[&topic]);
    let assigned = until("an assignment", || {
        let events = older.member.poll(super::bench::WAIT).unwrap();
        events.into_iter().find_map(|event| match event {
            pipeline::log::Event::Assigned(assigned) => Some(assigned),
            _ => None,
        })
    });
    let mut newer = bench.join("a", &[&topic]);
    newer.until("the partitions", |member| member.owned.len() == 2);
    older.until("to hear of it", |member| member.lost.is_some());
    assert_eq!(older.lost, Some(assigned.into_iter().collect()));
}

fn offsets_of_anothers_partition_are_fenced(bench: &Bench<'_>) {
    let topic = bench.topic("topic", 2);
    let all = partitions(&[&topic], 2);
    let (mut one, mut two) = (bench.join("a", &[&topic]), bench.join("b", &[&topic]));
    settle(&mut one, &mut two, &all);
    let theirs = two.owned.first().unwrap().clone();
    let next = bench.append_each(&theirs, &["input"])[0].next;
    let mut commit = offsets(&theirs, next);
    commit.appends = appends(one.owned.first().unwrap(), &["never seen"]).appends;
    let outcome = one.member.commit(commit).wait();
    assert!(matches!(outcome, Outcome::Fenced(_)), "{outcome:?}");
    assert_eq!(bench.committed("group", &theirs), None);
    committed(two.member.as_mut(), offsets(&theirs, next));
    assert_eq!(bench.committed("group", &theirs).map(|p| p.offset), Some(next.offset));
}

fn a_revoked_partition_can_still_be_committed(bench: &Bench<'_>) {
    let topic = bench.topic("topic", 2);
    let all = partitions(&[&topic], 2);
    let mut one = bench.join("a", &[&topic]);
    one.until("all partitions", |member| member.owned == all);
    let _two = bench.join("b", &[&topic]);
    one.until("a revocation", |member| member.owned != all);
    let revoked = all.difference(&one.owned).next().unwrap().clone();
    let next = bench.append_each(&revoked, &["input"])[0].next;
    committed(one.member.as_mut(), offsets(&revoked, next));
    assert_eq!(bench.committed("group", &revoked).map(|p| p.offset), Some(next.offset));
}

fn records_and_offsets_are_one_commit(bench: &Bench<'_>) {
    let (input, output) = (bench.topic("input", 1), bench.topic("output", 1));
    let (input, output) = (TopicPartition::new(input, 0), TopicPartition::new(output, 0));
    let next = bench.append_each(&input, &["in"])[0].next;
    let mut member = bench.join("a", &[&input.topic]);
    member.until("the input", |member| member.texts() == ["in"]);
    let mut refused = appends(&TopicPartition::new(bench.name("nowhere"), 0), &["out"]);
    refused.offsets.push((input.clone(), next));
    assert!(matches!(member.member.commit(refused).wait(), Outcome::Aborted(_)));
    assert_eq!(bench.committed("group", &input), None, "aborted with the records");
    let mut commit = appends(&output, &["out"]);
    commit.offsets.push((input.clone(), next));
    committed(member.member.as_mut(), commit);
    assert_eq!(bench.committed("group", &input).map(|p| p.offset), Some(next.offset));
    assert_eq!(bench.values(&output, 0, 1), ["out"]);
}

fn groups_do_not_share_offsets(bench: &Bench<'_>) {
    let at = bench.partition();
    let next = bench.append_each(&at, &["a"])[0].next;
    let mut member = bench.join("a", &[&at.topic]);
    member.until("the partition", |member| !member.owned.is_empty());
    committed(member.member.as_mut(), offsets(&at, next));
    let group = bench.name("group");
    let missing = TopicPartition::new(bench.topic("other", 1), 0);
    let found = bench.log.committed(&group, &[missing, at.clone()]).unwrap();
    assert_eq!(found, [None, Some(next)]);
    assert_eq!(bench.committed("other-group", &at), None);
}

fn a_member_starts_where_it_says(bench: &Bench<'_>) {
    let at = bench.partition();
    committed(bench.writer("writer").as_mut(), appends(&at, &["a", "b", "c"]));
    let offset = bench.read(&at, 0, 3)[1].offset;
    let mut member = bench.join("a", &[&at.topic]);
    member.until("the records", |member| member.read.len() == 3);
    member.read.clear();
    member.member.start(&at, offset).unwrap();
    member.until("the records again", |member| member.texts() == ["b", "c"]);
}

fn pausing_holds_records_back(bench: &Bench<'_>) {
    let topic = bench.topic("topic", 2);
    let at = |partition| TopicPartition::new(topic.as_str(), partition);
    let mut member = bench.join("a", &[&topic]);
    member.until("the partitions", |member| member.owned.len() == 2);
    member.member.pause(&at(0));
    bench.append_each(&at(0), &["held", "back"]);
    bench.append_each(&at(1), &["goes through"]);
    member.until("the other partition", |member| !member.read.is_empty());
    for _ in 0..3 {
        member.step();
    }
    assert_eq!(member.texts(), ["goes through"]);
    member.member.resume(&at(0));
    member.until("all", |member| member.read.len() == 3);
    assert_eq!(member.texts(), ["goes through", "held", "back"]);
}

fn reconnecting_keeps_members_and_offsets(bench: &Bench<'_>) {
    let at = bench.partition();
    let next = bench.append_each(&at, &["a"])[0].next;
    let mut member = bench.join("a", &[&at.topic]);
    member.until("the record", |member| member.texts() == ["a"]);
    committed(member.member.as_mut(), offsets(&at, next));
    bench.log.reconnect().unwrap();
    assert_eq!(bench.committed("group", &at), Some(next));
    drop(member);
    let mut member = bench.join("a", &[&at.topic]);
    member.until("the record", |member| member.texts() == ["a"]);
    committed(member.member.as_mut(), appends(&at, &["b"]));
    member.until("its own record", |member| member.texts() == ["a", "b"]);
}
