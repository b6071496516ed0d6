//! The page of `inspect --html`: whole, escaped, and without anything to load.

use std::collections::BTreeMap;

use super::*;

/// Writes the page of the log in `dir`; returns its status and text.
fn page(dir: &Path) -> (i32, String) {
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("page.html");
    let ran = run(&["inspect", ".", "--html", file.to_str().unwrap()], dir);
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("", ""));
    let page = fs::read_to_string(file).unwrap();
    check(&page);
    (ran.code, page)
}

/// Every tag is closed in its turn, every attribute is quoted, and nothing is loaded.
#[track_caller]
fn check(page: &str) {
    assert!(page.starts_with("<!DOCTYPE html>\n<html lang=\"en\">"), "{page}");
    for word in ["http", "src=", "url(", "@import", "<link", "<iframe", "<img"] {
        assert!(!page.contains(word), "{word}");
    }
    let mut open = Vec::new();
    let mut rest = &page["<!DOCTYPE html>".len()..];
    while let Some(at) = rest.find('<') {
        let inside = &rest[at + 1..];
        let end = inside.find('>').unwrap();
        let tag = &inside[..end];
        assert!(!tag.contains('<') && tag.matches('"').count().is_multiple_of(2), "{tag}");
        rest = &inside[end + 1..];
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap().to_string();
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name));
        } else if name != "meta" && !tag.ends_with('/') {
            // Their content is not HTML.
            if ["style", "script"].contains(&name.as_str()) {
                rest = &rest[rest.find(&format!("</{name}>")).unwrap()..];
            }
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

/// How often each state is a row of the table.
fn states(page: &str) -> BTreeMap<&str, usize> {
    let mut states = BTreeMap::new();
    for cell in page.split("<td class=\"word\" data-key=\"").skip(1) {
        let key = cell.split('"').next().unwrap();
        if ["sealed", "open", "torn", "damaged"].contains(&key) {
            *states.entry(key).or_default() += 1;
        }
    }
    states
}

#[test]
fn a_page_shows_each_chunk_and_what_an_open_would_do() {
    let dir = three_chunks();
    let before = snapshot(dir.path());
    let (code, page) = page(dir.path());
    assert_eq!(code, 0);
    assert_eq!(states(&page), [("sealed", 2), ("open", 1)].into());
    for id in [0, SECOND, NEWEST] {
        let name = ChunkId(id).file_name();
        assert!(page.contains(name.trim_start_matches("r-").trim_end_matches(".wal")), "{name}");
    }
    assert!(page.contains("Opening changes no record: it replays 9 records of 3 chunks"), "{page}");
    assert!(page.contains("<span class=\"verdict open\">sound</span>") && !page.contains("<h2>Damage"));
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("aria-sort"));
    // Three bars for sizes, three for records.
    assert_eq!(page.matches("<rect class=\"bar ").count(), 6);
    assert_eq!(snapshot(dir.path()), before);
}

#[test]
fn a_page_shows_damage_that_only_reading_everything_finds_and_the_choices() {
    let dir = three_chunks();
    // An action of a sealed chunk, which `inspect` alone doesn't read.
    damage(&chunk_path(dir.path(), SECOND), NEWEST - SECOND - 4);
    assert_eq!(run(&["inspect", "."], dir.path()).code, 0);
    let (code, page) = page(dir.path());
    assert_eq!((code, states(&page)["damaged"]), (2, 1));
    assert!(page.contains("is damaged at offset 248") && page.contains("Opening is refused"), "{page}");
    for keep in ["before", "behind"] {
        assert!(page.contains(&format!("<code>chunked-wal repair --keep {keep}</code>")), "{keep}");
    }
    assert!(page.contains("cut r-00_000_000_000_000_000_136.wal at offset 248: keeps 2 records"));

    let torn = three_chunks();
    tear(torn.path());
    let (code, page) = self::page(torn.path());
    assert_eq!((code, states(&page)["torn"]), (1, 1));
    assert!(
        page.contains("Opening cuts off the torn tail (a torn write of 100 bytes after offset 416"),
        "{page}"
    );
    assert!(!page.contains("What a repair could do"), "the next open does it");
}

#[test]
fn names_from_outside_are_text_on_the_page() {
    let dir = three_chunks();
    for name in ["<script>alert(1)<script>", "a\"onload='x'&amp;.txt", "\u{1b}[2J\u{202e}\n"] {
        fs::write(dir.path().join(name), "").unwrap();
    }
    let (_, page) = page(dir.path());
    assert_eq!(page.matches("<script>").count(), 1, "its own");
    assert!(page.contains("&lt;script&gt;alert(1)&lt;script&gt;"), "{page}");
    assert!(page.contains("onload=&#39;x&#39;&amp;amp;.txt"), "{page}");
    assert!(!page.contains(['\u{1b}', '\u{202e}']));
    // The directory itself, and the file of a message.
    let outer = tempfile::tempdir().unwrap();
    let hostile = outer.path().join("<i>log & \"co\"");
    fs::create_dir(&hostile).unwrap();
    fs::write(chunk_path(&hostile, 0), fs::read(chunk_path(dir.path(), 0)).unwrap()).unwrap();
    fs::write(chunk_path(&hostile, SECOND), "").unwrap();
    let ran = run(&["inspect", "--html", "-", hostile.to_str().unwrap()], outer.path());
    check(&ran.out);
    assert!(ran.code == 2 && ran.out.contains("&lt;i&gt;log &amp; &quot;co&quot;"), "{}", ran.out);
    assert!(ran.out.contains("the file is empty"), "{}", ran.out);
}

#[test]
fn a_page_is_not_put_into_the_log() {
    let dir = three_chunks();
    let before = snapshot(dir.path());
    for path in ["page.html", "./page.html"] {
        let ran = run(&["inspect", ".", "--html", path], dir.path());
        assert!(ran.code == 64 && ran.err.contains("is in the log's directory"), "{ran:?}");
    }
    let ran = run(&["inspect", ".", "--html", "/nowhere/page.html"], dir.path());
    assert!(ran.code == 3 && ran.err.contains("write '/nowhere/page.html' failed"), "{ran:?}");
    assert_eq!(snapshot(dir.path()), before);
}

#[cfg(feature = "lz4")]
#[test]
fn a_page_shows_the_compressed_share() {
    let dir = half_compressed();
    let (code, page) = page(dir.path());
    assert_eq!(code, 0);
    assert!(page.contains("Share of LZ4 in the stored payload") && page.contains("63 %"), "{page}");
}
