//! The dashboard and the alert rules in `docs/guide/monitoring/` name metrics that there are.
#![cfg(feature = "metrics")]
#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use crate::common::*;
use crate::metrics::{Exported, Value, exported, open};

const DASHBOARD: &str = include_str!("../../docs/guide/monitoring/dashboard.json");
const ALERTS: &str = include_str!("../../docs/guide/monitoring/alerts.yml");
const ALERTS_TEST: &str = include_str!("../../docs/guide/monitoring/alerts_test.yml");

/// The names of metrics in a text, as Prometheus has them.
fn names(text: &str) -> BTreeSet<&str> {
    let found = text.match_indices("chunked_wal_").map(|(at, _)| {
        let name = &text[at..];
        &name[..name.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(name.len())]
    });
    found.collect()
}

/// The metric of a name in Prometheus: a histogram has three.
fn metric<'a>(name: &'a str, known: &Exported) -> Option<&'a str> {
    let parts = ["_bucket", "_sum", "_count"];
    let histogram = parts.iter().find_map(|part| name.strip_suffix(part));
    let is_histogram = |name: &str| matches!(known.get(name)?.value, Some(Value::Histogram(_))).then_some(());
    match histogram {
        Some(histogram) => is_histogram(histogram).map(|()| histogram),
        None => (known.contains_key(name) && is_histogram(name).is_none()).then_some(name),
    }
}

#[test]
fn every_metric_that_they_name_is_exported() {
    let (_wal, _, recorder) = open(&Disk::default());
    let known = exported(&recorder);
    for (file, text) in [("dashboard", DASHBOARD), ("alerts", ALERTS), ("tests of alerts", ALERTS_TEST)] {
        for name in names(text) {
            assert!(metric(name, &known).is_some(), "{file}: no log exports `{name}`");
        }
    }
}

#[test]
fn unknown_names_are_noticed() {
    let (_wal, _, recorder) = open(&Disk::default());
    let known = exported(&recorder);
    for name in ["chunked_wal_sync_seconds", "chunked_wal_failed_sum", "chunked_wal_fail", "chunked_wal_"] {
        assert_eq!(metric(name, &known), None, "{name}");
    }
    assert_eq!(metric("chunked_wal_sync_seconds_bucket", &known), Some("chunked_wal_sync_seconds"));
}

#[cfg(feature = "cli")] // for its parser
#[test]
fn the_dashboard_is_json_with_panels_of_their_own() {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    for panel in panels {
        assert!(panel["title"].is_string() && panel["description"].is_string(), "{panel}");
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            assert!(
                expression.contains(r#"{job=~"$job",instance=~"$instance",log=~"$log"}"#),
                "{expression}"
            );
        }
    }
}

/// Where Prometheus is installed.
#[test]
fn promtool_accepts_the_rules_and_they_fire_when_they_should() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guide/monitoring");
    for args in [&["check", "rules", "alerts.yml"][..], &["test", "rules", "alerts_test.yml"]] {
        let Ok(output) = Command::new("promtool").args(args).current_dir(&dir).output() else {
            println!("no `promtool` here: not tested");
            return;
        };
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
