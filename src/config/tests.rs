use super::*;

#[test]
fn a_value_out_of_range_is_refused_with_its_field() {
    let field = |change: fn(&mut Config)| {
        let mut config = Config::new("x");
        change(&mut config);
        match config.validate() {
            Err(Error::InvalidConfig { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(field(|c| c.dir = PathBuf::new()), "dir");
    assert_eq!(field(|c| c.chunk_max_size = 63), "chunk_max_size");
    assert_eq!(field(|c| c.chunk_max_size = u64::MAX), "chunk_max_size");
    assert_eq!(field(|c| c.chunk_max_records = 0), "chunk_max_records");
    assert_eq!(field(|c| c.max_record_size = 0), "max_record_size");
    assert_eq!(field(|c| c.max_record_size = u64::from(u32::MAX) - 63), "max_record_size");
    assert_eq!(field(|c| c.max_batch_size = 0), "max_batch_size");
    assert_eq!(field(|c| c.max_batch_size = u64::from(u32::MAX) - 63), "max_batch_size");
    assert_eq!(field(|c| c.open_buffer_max_bytes = 0), "open_buffer_max_bytes");
    assert_eq!(field(|c| c.flush_queue_max_bytes = 0), "flush_queue_max_bytes");
    assert_eq!(field(|c| c.flush_batch_max_items = 0), "flush_batch_max_items");
    assert_eq!(field(|c| c.flush_batch_max_bytes = 0), "flush_batch_max_bytes");
    assert_eq!(field(|c| c.flush_batch_wait = Duration::MAX), "flush_batch_wait");
    assert_eq!(field(|c| c.spare_chunks = u64::MAX), "spare_chunks");
    assert_eq!(field(|c| c.zero_ahead_bytes = u64::MAX), "zero_ahead_bytes");
    assert_eq!(field(|c| c.read_buffer_size = 0), "read_buffer_size");
    assert_eq!(field(|c| c.file_mode = 0o400), "file_mode");
    assert_eq!(field(|c| c.file_mode = 0o1600), "file_mode");
    assert!(Config::new("x").validate().is_ok());
}

/// A size as the documents have it.
fn size(bytes: u64) -> String {
    if bytes.is_multiple_of(MIB) { format!("{} MiB", bytes / MIB) } else { format!("{} KiB", bytes / 1024) }
}

#[test]
fn each_default_is_the_one_that_the_documents_name() {
    // Without `..`: a new field has to be named here.
    let Config {
        dir: _,
        chunk_max_size,
        chunk_max_records,
        max_record_size,
        max_batch_size,
        open_buffer_max_bytes,
        flush_queue_max_bytes,
        flush_batch_max_items,
        flush_batch_max_bytes,
        flush_batch_wait,
        soft_budget,
        hard_budget,
        truncate_torn_tail,
        spare_chunks,
        zero_ahead_bytes,
        idle_mark,
        compression,
        read_buffer_size,
        closed_reads,
        file_mode,
    } = Config::new("x");
    assert_eq!((chunk_max_records, flush_batch_wait), (u64::MAX, Duration::ZERO));
    assert_eq!((soft_budget, hard_budget), (u64::MAX, u64::MAX));
    assert_eq!(flush_batch_max_items, 65_536);
    for (field, default) in [
        ("chunk_max_size", size(chunk_max_size)),
        ("chunk_max_records", "unlimited (`u64::MAX`)".to_string()),
        ("max_record_size", size(max_record_size)),
        ("max_batch_size", size(max_batch_size)),
        ("open_buffer_max_bytes", size(open_buffer_max_bytes)),
        ("flush_queue_max_bytes", size(flush_queue_max_bytes)),
        ("flush_batch_max_items", "65,536".to_string()),
        ("flush_batch_max_bytes", size(flush_batch_max_bytes)),
        ("flush_batch_wait", "zero".to_string()),
        ("soft_budget", "unlimited (`u64::MAX`)".to_string()),
        ("hard_budget", "unlimited (`u64::MAX`)".to_string()),
        ("truncate_torn_tail", truncate_torn_tail.to_string()),
        ("spare_chunks", spare_chunks.to_string()),
        ("zero_ahead_bytes", size(zero_ahead_bytes)),
        ("idle_mark", format!("[`IdleMark::{idle_mark:?}`]")),
        ("compression", format!("[`Compression::{compression:?}`]")),
        ("read_buffer_size", size(read_buffer_size)),
        ("closed_reads", format!("[`ClosedReads::{closed_reads:?}`]")),
        ("file_mode", format!("{file_mode:#o}")),
    ] {
        let documented = documented_default(field);
        let rest = documented.strip_prefix(&default).unwrap_or_else(|| panic!("{field}: {documented}"));
        assert!(rest.starts_with(['.', ',', ';']), "{field}: {documented}");
    }
}

/// What follows "Default: " in the documents of a field.
fn documented_default(field: &str) -> String {
    let source = include_str!("mod.rs");
    let (_, fields) = source.split_once("pub struct Config {").unwrap();
    let (before, _) = fields.split_once(&format!("    pub {field}: ")).unwrap();
    let docs: Vec<_> = before
        .lines()
        .rev()
        .skip_while(|line| !line.starts_with("    ///"))
        .take_while(|line| line.starts_with("    ///"))
        .map(|line| line.trim_start_matches("    ///").trim())
        .collect();
    let docs = docs.into_iter().rev().collect::<Vec<_>>().join(" ");
    docs.split_once("Default: ").unwrap_or_else(|| panic!("{field}: {docs}")).1.to_string()
}

#[test]
fn each_setting_is_set_by_the_method_of_its_name() {
    let config = Config::new("x")
        .chunk_max_size(1)
        .chunk_max_records(2)
        .max_record_size(3)
        .max_batch_size(4)
        .open_buffer_max_bytes(5)
        .flush_queue_max_bytes(6)
        .flush_batch_max_items(7)
        .flush_batch_max_bytes(8)
        .flush_batch_wait(Duration::from_nanos(9))
        .soft_budget(13)
        .hard_budget(14)
        .truncate_torn_tail(false)
        .spare_chunks(10)
        .zero_ahead_bytes(11)
        .idle_mark(IdleMark::Synced)
        .compression(Compression::None)
        .read_buffer_size(12)
        .closed_reads(ClosedReads::Positional)
        .file_mode(0o640);
    let expected = Config {
        dir: "x".into(),
        chunk_max_size: 1,
        chunk_max_records: 2,
        max_record_size: 3,
        max_batch_size: 4,
        open_buffer_max_bytes: 5,
        flush_queue_max_bytes: 6,
        flush_batch_max_items: 7,
        flush_batch_max_bytes: 8,
        flush_batch_wait: Duration::from_nanos(9),
        soft_budget: 13,
        hard_budget: 14,
        truncate_torn_tail: false,
        spare_chunks: 10,
        zero_ahead_bytes: 11,
        idle_mark: IdleMark::Synced,
        compression: Compression::None,
        read_buffer_size: 12,
        closed_reads: ClosedReads::Positional,
        file_mode: 0o640,
    };
    assert_eq!(config, expected);
}

#[cfg(feature = "serde")]
mod through_serde {
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        serde_json::from_str(text).map_err(|e| e.to_string())
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        assert_eq!(read(r#"{"dir": "x"}"#).unwrap(), Config::new("x"));
        // Without a directory the log refuses to open.
        let without = read("{}").unwrap();
        assert!(matches!(without.validate(), Err(Error::InvalidConfig { field: "dir", .. })));
    }

    #[test]
    fn what_is_written_is_read() {
        let config = Config::new("/a")
            .chunk_max_records(5)
            .flush_batch_wait(Duration::from_micros(1500))
            .idle_mark(IdleMark::Synced)
            .file_mode(0o644);
        #[cfg(feature = "lz4")]
        let config = config.compression(Compression::Lz4 { min_len: 64 });
        for config in [config, Config::new("x")] {
            let text = serde_json::to_string(&config).unwrap();
            assert_eq!(read(&text).unwrap(), config, "{text}");
            // TOML has no larger number.
            assert!(!text.contains(&u64::MAX.to_string()), "{text}");
        }
    }

    #[test]
    fn values_are_words_and_not_numbers_where_that_is_clearer() {
        let text =
            serde_json::to_string(&Config::new("x").flush_batch_wait(Duration::from_millis(2))).unwrap();
        for part in [
            r#""chunk_max_records":"unlimited""#,
            r#""flush_batch_wait":"2ms""#,
            r#""idle_mark":"written""#,
            r#""compression":"none""#,
            r#""closed_reads":"positional""#,
            r#""file_mode":"0o600""#,
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        for (text, nanos) in [("2s", 2_000_000_000), ("0s", 0), ("7us", 7000), ("7 ns", 7)] {
            let read = read(&format!(r#"{{"flush_batch_wait": "{text}"}}"#)).unwrap();
            assert_eq!(read.flush_batch_wait, Duration::from_nanos(nanos), "{text}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_would() {
        for (text, expected) in [
            (r#"{"chunk_size": 1}"#, "unknown field `chunk_size`, expected one of `dir`, `chunk_max_size`"),
            (r#"{"chunk_max_size": "big"}"#, "expected u64"),
            (
                r#"{"chunk_max_records": "many"}"#,
                r#""many" is no limit: a number is expected, or "unlimited""#,
            ),
            (r#"{"chunk_max_records": -1}"#, r#"a number is expected, or "unlimited""#),
            (r#"{"flush_batch_wait": "2"}"#, r#""2" is no time: a number and s, ms, us or ns is expected"#),
            (r#"{"flush_batch_wait": "-2ms"}"#, "is no time"),
            (r#"{"flush_batch_wait": "99999999999999999999s"}"#, "is no time"),
            (r#"{"flush_batch_wait": "18446744073709551615s"}"#, "is no time"),
            (
                r#"{"file_mode": "640"}"#,
                r#""640" are no permissions: octal digits are expected, as in "0o640""#,
            ),
            (r#"{"file_mode": "0o9"}"#, "are no permissions"),
            (r#"{"idle_mark": "maybe"}"#, "unknown variant `maybe`, expected `written` or `synced`"),
            (r#"{"compression": "zip"}"#, "unknown variant `zip`"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
