//! Golden scripts of windows.

use expect_test::{Expect, expect};

use super::{answer, script, seconds, shown, topology, unmerged};
use crate::driver::TopologyDriver;
use crate::{
    BufferConfig, CalendarWindows, Consumed, SessionWindows, SlidingWindows, Suppressed,
    TimeWindows, Topology, TopologyBuilder, TopologyError, Tz, Windowed,
};

fn check(topology: &dyn Fn() -> Topology, text: &str, expected: &Expect) {
    expected.assert_eq(&shown(&answer(topology, &script(text))));
}

fn hopping() -> TimeWindows {
    TimeWindows::of_size_and_grace(seconds(6), seconds(2)).advance_by(seconds(2))
}

const CLICKS: &str = "
    a 1
    a 3
    b 4
    a 9
    a 3
    a 12
    b 30
";

#[test]
fn a_record_counts_in_the_hopping_windows_that_are_still_open() {
    let counted = || {
        topology(|stream| {
            stream.group_by_key().windowed_by(hopping()).count("counts").to("out");
        })
    };
    check(
        &counted,
        CLICKS,
        &expect![[r#"
        a 0..6 1 at 1
        a 0..6 2 at 3
        a 2..8 1 at 3
        b 0..6 1 at 4
        b 2..8 1 at 4
        b 4..10 1 at 4
        a 4..10 1 at 9
        a 6..12 1 at 9
        a 8..14 1 at 9
        a 2..8 2 at 3
        a 8..14 2 at 12
        a 10..16 1 at 12
        a 12..18 1 at 12
        b 26..32 1 at 30
        b 28..34 1 at 30
        b 30..36 1 at 30
    "#]],
    );
}

#[test]
fn hopping_windows_are_told_once_when_they_close() {
    let panes = || {
        topology(|stream| {
            let windows = stream.group_by_key().windowed_by(hopping()).emit_final();
            windows.count("counts").to("out");
        })
    };
    let expected = expect![[r#"
        a 0..6 2 at 3
        b 0..6 1 at 4
        a 2..8 2 at 3
        b 2..8 1 at 4
        a 4..10 1 at 9
        b 4..10 1 at 4
        a 6..12 1 at 9
        a 8..14 2 at 12
        a 10..16 1 at 12
        a 12..18 1 at 12
    "#]];
    check(&panes, CLICKS, &expected);
    let whole = || {
        topology(|stream| {
            let windows = stream.group_by_key().windowed_by(hopping()).emit_final();
            windows.aggregate_by("counts", unmerged()).to("out");
        })
    };
    check(&whole, CLICKS, &expected);
    let suppressed = || {
        topology(|stream| {
            let counts = stream.group_by_key().windowed_by(hopping()).count("counts");
            counts.suppress("open", Suppressed::until_window_closes()).to("out");
        })
    };
    check(&suppressed, CLICKS, &expected);
}

#[test]
fn behind_a_repartition_windows_close_by_the_clocks_of_the_sources() {
    let panes = || {
        topology(|stream| {
            let grouped = stream.group_by("by-key", |key, _| key.clone());
            grouped.windowed_by(hopping()).emit_final().count("counts").to("out");
        })
    };
    check(
        &panes,
        CLICKS,
        &expect![[r#"
        a 0..6 2 at 3
        b 0..6 1 at 4
        a 2..8 2 at 3
        b 2..8 1 at 4
        a 4..10 1 at 9
        b 4..10 1 at 4
        a 6..12 1 at 9
        a 8..14 2 at 12
        a 10..16 1 at 12
        a 12..18 1 at 12
    "#]],
    );
}

fn sessions() -> SessionWindows {
    SessionWindows::of_inactivity_gap_and_grace(seconds(5), seconds(10))
}

const VISITS: &str = "
    a 10
    a 20
    b 12
    a 15
    a 8
    a 24
    a 60
    a 30
";

#[test]
fn sessions_are_merged_and_the_old_ones_deleted() {
    let counted = || {
        topology(|stream| {
            stream.group_by_key().windowed_by(sessions()).count("counts").to("out");
        })
    };
    check(
        &counted,
        VISITS,
        &expect![[r#"
        a 10..10 1 at 10
        a 20..20 1 at 20
        b 12..12 1 at 12
        a 10..10 deleted at 10
        a 20..20 deleted at 20
        a 10..20 3 at 20
        a 10..20 deleted at 20
        a 8..20 4 at 20
        a 8..20 deleted at 20
        a 8..24 5 at 24
        a 60..60 1 at 60
    "#]],
    );
}

#[test]
fn sessions_are_told_once_when_they_close() {
    let counted = || {
        topology(|stream| {
            let windows = stream.group_by_key().windowed_by(sessions()).emit_final();
            windows.count("counts").to("out");
        })
    };
    check(
        &counted,
        VISITS,
        &expect![[r#"
        b 12..12 1 at 12
        a 8..24 5 at 24
    "#]],
    );
}

#[test]
fn sessions_reduce_and_merge_in_the_same_way() {
    let joined = || {
        topology(|stream| {
            let texts = stream.map_values(|_, number| number.to_string());
            let windows = texts.group_by_key().windowed_by(sessions());
            windows.reduce("joined", |old, new| format!("{old}+{new}")).to("out");
        })
    };
    check(
        &joined,
        VISITS,
        &expect![[r#"
        a 10..10 "1" at 10
        a 20..20 "2" at 20
        b 12..12 "3" at 12
        a 10..10 deleted at 10
        a 20..20 deleted at 20
        a 10..20 "1+2+4" at 20
        a 10..20 deleted at 20
        a 8..20 "1+2+4+5" at 20
        a 8..20 deleted at 20
        a 8..24 "1+2+4+5+6" at 24
        a 60..60 "7" at 60
    "#]],
    );
}

fn sliding() -> SlidingWindows {
    SlidingWindows::of_time_difference_and_grace(seconds(5), seconds(3))
}

const LOGINS: &str = "
    a 10
    a 12
    a 11
    a 12
    b 13
    a 19
    a 9
    a 30
";

#[test]
fn sliding_windows_begin_and_end_with_records() {
    let counted = || {
        topology(|stream| {
            stream.group_by_key().windowed_by(sliding()).count("counts").to("out");
        })
    };
    check(
        &counted,
        LOGINS,
        &expect![[r#"
        a 5..10 1 at 10
        a 10001ms..15001ms 1 at 12
        a 7..12 2 at 12
        a 10001ms..15001ms 2 at 12
        a 7..12 3 at 12
        a 6..11 2 at 11
        a 11001ms..16001ms 1 at 12
        a 11001ms..16001ms 2 at 12
        a 10001ms..15001ms 3 at 12
        a 7..12 4 at 12
        b 8..13 1 at 13
        a 14..19 1 at 19
        a 25..30 1 at 30
    "#]],
    );
}

#[test]
fn sliding_windows_are_told_once_when_they_close() {
    let counted = || {
        topology(|stream| {
            let windows = stream.group_by_key().windowed_by(sliding()).emit_final();
            windows.count("counts").to("out");
        })
    };
    check(
        &counted,
        LOGINS,
        &expect![[r#"
        a 5..10 1 at 10
        a 6..11 2 at 11
        a 7..12 4 at 12
        b 8..13 1 at 13
        a 10001ms..15001ms 3 at 12
        a 11001ms..16001ms 2 at 12
        a 14..19 1 at 19
    "#]],
    );
}

#[test]
fn early_records_share_the_first_sliding_window() {
    let counted = || {
        topology(|stream| {
            stream.group_by_key().windowed_by(sliding()).count("counts").to("out");
        })
    };
    check(
        &counted,
        "a 1\n a 3\n a 2\n a 7",
        &expect![[r#"
        a 0..5 1 at 1
        a 1001ms..6001ms 1 at 3
        a 0..5 2 at 3
        a 1001ms..6001ms 2 at 3
        a 2001ms..7001ms 1 at 3
        a 0..5 3 at 3
        a 2001ms..7001ms 2 at 7
        a 3001ms..8001ms 1 at 7
        a 2..7 3 at 7
    "#]],
    );
}

#[test]
fn days_of_a_calendar_are_windows_of_different_lengths() {
    // 2026-03-28T22:30Z, 2026-03-28T23:30Z, 2026-03-29T21:30Z, 2026-03-29T22:30Z.
    let text = "a 1774737000\n a 1774740600\n a 1774819800\n a 1774823400";
    let counted = || {
        topology(|stream| {
            let days = CalendarWindows::days(Tz::Europe__Berlin).with_grace(seconds(60));
            stream.group_by_key().windowed_by(days).emit_final().count("counts").to("out");
        })
    };
    check(
        &counted,
        text,
        &expect![[r#"
        a 1774652400..1774738800 1 at 1774737000
        a 1774738800..1774821600 2 at 1774819800
    "#]],
    );
}

#[test]
fn a_table_is_held_back_for_a_time_and_up_to_a_bound() {
    let held = |buffer: BufferConfig| {
        move || {
            let builder = TopologyBuilder::new("windows");
            let table = builder.table::<String, i64>("in", "rows");
            let limit = Suppressed::until_time_limit(seconds(10), buffer);
            table.suppress("held", limit).to("out");
            builder.build().unwrap()
        }
    };
    let lines = |buffer: BufferConfig| -> String {
        let updates = script("a 1\n a 5\n b 6\n c 7\n a 12\n d 30");
        let line = |record: crate::driver::RawRecord| {
            let text = |bytes: Option<Vec<u8>>| String::from_utf8(bytes.unwrap()).unwrap();
            format!("{} {} at {}\n", text(record.key), text(record.value), record.timestamp / 1000)
        };
        answer(&held(buffer), &updates).into_iter().map(line).collect()
    };
    expect![[r#"
        a 5 at 12
        b 3 at 6
        c 4 at 7
    "#]]
    .assert_eq(&lines(BufferConfig::max_records(100)));
    expect![[r#"
        a 2 at 5
        b 3 at 6
        c 4 at 7
        a 5 at 12
    "#]]
    .assert_eq(&lines(BufferConfig::max_records(2)));
}

#[test]
fn late_records_go_to_the_late_topic_with_the_reason() {
    let build = || {
        topology(|stream| {
            let windows = stream.group_by_key().windowed_by(hopping()).late_to("late");
            windows.count("counts").to("out");
        })
    };
    let mut driver = TopologyDriver::new(build());
    for (topic, key, value, at) in script(CLICKS) {
        let bytes = |text: &Option<String>| text.clone().map(String::into_bytes);
        driver.pipe_bytes(&topic, bytes(&key).as_deref(), bytes(&value).as_deref(), at);
    }
    let late = driver.read::<String, i64>("late");
    assert_eq!(late.len(), 1);
    assert_eq!((late[0].key.as_str(), late[0].value, late[0].timestamp), ("a", Some(5), 3_000));
    let headers = &driver.read_headers("late")[0];
    assert_eq!(headers["mp.late"], "late");
    assert_eq!(headers["mp.late.windows"], "1/2");
    assert_eq!(driver.counters().total("late"), 1);
}

#[test]
fn a_source_may_wait_longer_or_shorter_than_others_for_a_record() {
    let seen = |consumed: Consumed<i64>| {
        let builder = TopologyBuilder::new("windows");
        builder
            .stream_with::<String, i64>("in", consumed)
            .group_by("by-key", |key, _| format!("of-{key}"))
            .windowed_by(TimeWindows::of_size_with_no_grace(seconds(10)))
            .emit_final()
            .count("counts")
            .to("out");
        let mut driver = TopologyDriver::with_partitions(builder.build().unwrap(), 2);
        // Both partitions have been read once, the other one no further than second 1.
        for key in ["a", "b", "c", "d"] {
            driver.pipe("in", key, &1, 1_000);
        }
        driver.pipe("in", "a", &1, 25_000);
        driver.advance_wall_clock(seconds(20));
        driver.commit();
        driver.pipe("in", "a", &1, 26_000);
        driver.commit();
        driver.read_raw("out").len()
    };
    assert_eq!(seen(Consumed::default().with_idle_timeout(seconds(10))), 4);
    assert_eq!(seen(Consumed::default()), 0, "the driver's timeout is 30 seconds");
    assert_eq!(seen(Consumed::default().never_idle()), 0);
}

#[test]
fn a_final_result_that_is_repartitioned_finds_its_window_open() {
    // Tens of seconds, counted again by minute under another key: what time made in the first
    // windows comes long after the clocks that the second ones close by.
    let twice = || {
        topology(|stream| {
            let tens = TimeWindows::of_size_with_no_grace(seconds(10));
            let minutes = TimeWindows::of_size_with_no_grace(seconds(60));
            stream
                .group_by("first", |key, _| key.clone())
                .windowed_by(tens)
                .emit_final()
                .count("tens")
                .to_stream()
                .group_by("second", |key, _| key.key.clone())
                .windowed_by(minutes)
                .emit_final()
                .reduce("minutes", |all, count| all + count)
                .to("out");
        })
    };
    let text = "a 1\n a 2\n a 15\n b 58\n a 59\n a 71\n b 85\n a 130\n a 300";
    check(
        &twice,
        text,
        &expect![[r#"
        a 0..60 4 at 59
        b 0..60 1 at 58
        a 60..120 1 at 71
        b 60..120 1 at 85
        a 120..180 1 at 130
    "#]],
    );
}

#[test]
fn windows_that_cannot_be_are_refused_with_what_to_do() {
    let refused = |build: fn(&crate::Stream<String, i64>)| {
        let builder = TopologyBuilder::new("windows");
        build(&builder.stream("in"));
        builder.build().err().expect("it cannot work")
    };
    let wide = refused(|stream| {
        let windows = TimeWindows::of_size_with_no_grace(seconds(1)).advance_by(seconds(2));
        stream.group_by_key().windowed_by(windows).count("counts");
    });
    assert!(matches!(wide, TopologyError::Window { advance_ms: 2000, .. }), "{wide}");
    let unmergeable = refused(|stream| {
        stream.group_by_key().windowed_by(sessions()).aggregate_by("counts", unmerged());
    });
    assert!(unmergeable.to_string().contains("give it a merge"), "{unmergeable}");
    let plain = refused(|stream| {
        let counts = stream.group_by_key().count("counts");
        let _ = counts.suppress("open", Suppressed::until_window_closes());
    });
    assert!(plain.to_string().contains("`.windowed_by(..)`"), "{plain}");
    let looked_into = refused(|stream| {
        let finals = stream.group_by_key().windowed_by(hopping()).emit_final().count("counts");
        let again = finals.to_stream();
        again.join(&finals, |_: &Windowed<String>, a, b| a + b).to("out");
    });
    assert!(matches!(looked_into, TopologyError::NotKept { .. }), "{looked_into}");
}
