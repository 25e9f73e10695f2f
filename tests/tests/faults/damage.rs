//! Files of the state, the indexes and the log whose bytes have changed, or that are gone.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tests::crashes::Stage;
use tests::crashes::http::{Request, ask};
use tests::crashes::process::{Holder, eventually, flip};

use super::{Quiet, note, send, survive};

/// The largest file of the folder whose name contains `wanted`.
fn file(folder: &Path, wanted: &str) -> PathBuf {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let named = files.filter(|path| path.file_name().unwrap().to_string_lossy().contains(wanted));
    let largest = named.max_by_key(|path| fs::metadata(path).unwrap().len());
    largest.unwrap_or_else(|| panic!("no `{wanted}` in {}", folder.display()))
}

/// A file of the largest segment that the index uses: others wait for being collected.
fn segment_file(shard: &Path, extension: &str) -> anyhow::Result<PathBuf> {
    // Behind the JSON comes a checksum.
    let meta = fs::read(shard.join("meta.json"))?;
    let mut meta = serde_json::Deserializer::from_slice(&meta).into_iter::<serde_json::Value>();
    let meta = meta.next().expect("a file of the index's state is not empty")?;
    let segments = meta["segments"].as_array().expect("an index lists its segments");
    let largest = segments.iter().max_by_key(|segment| segment["max_doc"].as_u64());
    let id = largest.expect("the index has documents")["segment_id"].as_str().unwrap();
    Ok(shard.join(format!("{}.{extension}", id.replace('-', ""))))
}

/// Starts again after damage. A process that meets it later than at its start may end once, saying
/// so; the next one mends it.
fn mended(stage: &mut Stage, message: &str) -> anyhow::Result<()> {
    stage.revive()?;
    let flowed = stage.flow(1_000);
    let patience = if flowed.is_ok() { Duration::ZERO } else { Duration::from_secs(5) };
    if stage.process.ended_within(patience)?.is_some() {
        let said = stage.start.messages();
        let last = said.lines().last().unwrap_or_default();
        assert!(last.contains("the next start rebuilds it"), "{last}");
        stage.revive()?;
        stage.flow(1_000)?;
    } else {
        flowed?;
    }
    let said = stage.start.messages();
    assert!(said.contains(message), "it says `{message}`: {said}");
    Ok(())
}

#[test]
fn damaged_state_is_rebuilt_from_the_log() {
    let report = survive(|stage| {
        for (wanted, at) in [("MANIFEST-", 9), ("CURRENT", 2), (".sst", 64)] {
            stage.flow(1_500)?;
            stage.kill()?;
            flip(&file(&stage.start.data_dir.join("state"), wanted), at)?;
            let from = stage.start.messages().len();
            mended(stage, "rebuilding it from the log")?;
            let said = stage.start.messages();
            assert!(said[from..].contains("the state is damaged"), "{wanted}: {said}");
        }
        Ok(())
    });
    println!("{report}");
}

#[test]
fn damaged_indexes_are_rebuilt_from_the_log() {
    let report = survive(|stage| {
        stage.flow(1_500)?;
        let shard = stage.start.data_dir.join("views").join("regions").join("shard-0");
        let damages: [(&str, &dyn Fn() -> anyhow::Result<()>); 3] = [
            ("is damaged", &|| flip(&segment_file(&shard, "store")?, 5)),
            ("building a view", &|| Ok(fs::remove_file(shard.join("meta.json"))?)),
            ("building a view", &|| {
                let segment =
                    fs::File::options().write(true).open(segment_file(&shard, "term")?)?;
                Ok(segment.set_len(segment.metadata()?.len() / 2)?)
            }),
        ];
        for (message, damage) in damages {
            stage.kill()?;
            let from = stage.start.messages().len();
            damage()?;
            stage.revive()?;
            stage.flow(500)?;
            let said = stage.start.messages();
            assert!(said[from..].contains(message), "it says `{message}`: {}", &said[from..]);
        }
        Ok(())
    });
    println!("{report}");
}

#[test]
fn a_log_that_was_made_anew_rebuilds_its_followers() {
    let quiet = Quiet::new("");
    let mut process = quiet.start.process(None).unwrap();
    let holder = process.holder_or_end().unwrap();
    assert_eq!(send(&holder, 0..60), [200; 60]);
    let token = holder.token("payments").unwrap();
    assert_eq!(holder.documents("regions", &token).unwrap()[0]["count"], 60);
    process.stop().unwrap();
    fs::remove_dir_all(quiet.start.data_dir.join("log")).unwrap();

    let mut process = quiet.start.process(None).unwrap();
    let holder = process.holder_or_end().unwrap();
    // As many again: the positions of before would look valid.
    assert_eq!(send(&holder, 0..60), [200; 60]);
    let token = holder.token("payments").unwrap();
    let documents = holder.documents("regions", &token).unwrap();
    assert_eq!((documents.len(), &documents[0]["count"]), (1, &60.into()), "{documents:?}");
    let said = quiet.start.messages();
    assert!(said.contains("the state is another log's: rebuilding it from this one"), "{said}");
    assert!(
        said.contains("rebuilding a view from its topic") && said.contains("followed"),
        "{said}"
    );
    process.stop().unwrap();
}

/// Damages the record with the id where the log keeps it; says in how many places.
fn damage_record(log: &Path, id: u64) -> usize {
    let wanted = note(id);
    let wanted = &wanted.as_bytes()[200..240];
    let mut places = 0;
    for path in fs::read_dir(log).unwrap().map(|file| file.unwrap().path()) {
        let bytes = fs::read(&path).unwrap_or_default();
        if let Some(at) = bytes.windows(wanted.len()).position(|window| window == wanted) {
            flip(&path, at).unwrap();
            places += 1;
        }
    }
    places
}

fn problem(holder: &Holder, path: &str) -> (u16, String) {
    let line = format!("GET {path}");
    let key = format!("Bearer {}", holder.admin_key);
    let headers = [("authorization", key.as_str())];
    let answer =
        ask(holder.address, Request { line: &line, headers: &headers, body: &[] }).unwrap();
    (answer.status, String::from_utf8(answer.body).unwrap())
}

#[test]
fn a_damaged_partition_of_the_log_is_named_and_the_others_go_on() {
    // Nobody reads the payments at first.
    let quiet = Quiet::new("[topologies.ledger]\nenabled = false");
    let mut process = quiet.start.process(None).unwrap();
    let holder = process.holder_or_end().unwrap();
    assert_eq!(send(&holder, 0..80), [200; 80]);
    process.stop().unwrap();
    // The log goes to its files when it is opened the next time.
    let mut process = quiet.start.process(None).unwrap();
    process.holder_or_end().unwrap();
    process.stop().unwrap();
    assert!(damage_record(&quiet.start.data_dir.join("log"), 40) > 0, "the record was found");

    let config = fs::read_to_string(&quiet.start.config).unwrap();
    fs::write(&quiet.start.config, config.replace("enabled = false", "enabled = true")).unwrap();
    let mut process = quiet.start.process(None).unwrap();
    let holder = process.holder_or_end().unwrap();
    let partition = pipeline::log::partition_for(b"card-0", 2);
    let named = format!("payments-{partition} is damaged at offset ");
    let (status, body) = eventually("a process that is not ready", || {
        let (status, body) = problem(&holder, "/readyz");
        Ok(body.contains(&named).then_some((status, body)))
    })
    .unwrap();
    assert_eq!(status, 503, "{body}");
    // The other partition is read to its end; what the damaged one takes it takes.
    assert_eq!(send(&holder, 80..120), [200; 40]);
    let cards: Vec<u64> = (0..8)
        .filter(|n| pipeline::log::partition_for(format!("card-{n}").as_bytes(), 2) != partition)
        .collect();
    let expected: Vec<u64> = (0..120).filter(|id| cards.contains(&(id % 8))).collect();
    let found = eventually("the other partition", || {
        let records = holder.records("payments-once")?;
        let ids = records.iter().filter_map(|record| record["value"]["id"].as_u64());
        let mut ids: Vec<u64> = ids.filter(|id| cards.contains(&(id % 8))).collect();
        ids.sort_unstable();
        Ok((ids.len() >= expected.len()).then_some(ids))
    })
    .unwrap();
    assert_eq!(found, expected);
    let path = format!("/v1/admin/topics/payments/records?limit=1000&partition={partition}");
    let (status, body) = problem(&holder, &path);
    assert!(status == 503 && body.contains(&named), "{status} {body}");
    assert!(quiet.start.messages().contains("an input is damaged"), "{}", quiet.start.messages());
    process.stop().unwrap();
}

#[test]
fn a_log_whose_head_is_damaged_does_not_open_and_is_left_as_it_is() {
    let quiet = Quiet::new("");
    let mut process = quiet.start.process(None).unwrap();
    let holder = process.holder_or_end().unwrap();
    assert_eq!(send(&holder, 0..40), [200; 40]);
    process.stop().unwrap();
    let log = quiet.start.data_dir.join("log");
    let manifest = file(&log, "MANIFEST-");
    let head = log.join("CURRENT");
    let damages: [(&Path, &dyn Fn()); 3] = [
        (&head, &|| fs::remove_file(&head).unwrap()),
        (&head, &|| flip(&head, 2).unwrap()),
        (&manifest, &|| flip(&manifest, 9).unwrap()),
    ];
    for (path, damage) in damages {
        let kept = fs::read(path).unwrap();
        damage();
        let mut refused = quiet.start.process(None).unwrap();
        let status = refused.ended_within(Duration::from_secs(20)).unwrap().unwrap();
        let said = quiet.start.messages();
        let last = said.lines().last().unwrap();
        assert_eq!(status.code(), Some(1), "{last}");
        let says = ["/data/log is damaged: ", "restore the log from a backup", "operations.md"];
        assert!(says.iter().all(|text| last.contains(text)), "{last}");
        fs::write(path, kept).unwrap();
    }
    let mut process = quiet.start.process(None).unwrap();
    let holder = process.holder_or_end().unwrap();
    assert_eq!(holder.records("payments-once").unwrap().len(), 40, "nothing was touched");
    process.stop().unwrap();
}
