//! What files are called.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// `perf.data` → `perf-000002.data`, and with compression `perf-000002.data.zst`.
pub(super) fn numbered(path: &Path, number: Option<u64>, compressed: bool) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let bare = name.strip_suffix(".zst").unwrap_or(&name).to_string();
    if let Some(number) = number {
        name = match bare.rsplit_once('.') {
            Some((stem, ext)) if !stem.is_empty() => format!("{stem}-{number:06}.{ext}"),
            _ => format!("{bare}-{number:06}"),
        };
    } else {
        name = bare;
    }
    if compressed {
        name.push_str(".zst");
    }
    path.with_file_name(name)
}

/// The directory that a file is in.
pub(crate) fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Files of these names that are there already, by their numbers: what an earlier recording has left.
///
/// # Errors
/// The directory cannot be listed.
pub fn numbered_files(path: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory_of(path))? {
        let candidate = path.with_file_name(entry?.file_name());
        let name = candidate.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // The number is the only one with which the name is the same again.
        let digits = name.split(|c: char| !c.is_ascii_digit()).filter(|digits| digits.len() >= 6);
        let number = digits.filter_map(|digits| digits.parse().ok()).find(|&number| {
            [false, true].iter().any(|&compressed| numbered(path, Some(number), compressed) == candidate)
        });
        found.extend(number.map(|number| (number, candidate)));
    }
    found.sort();
    Ok(found)
}

/// Where a file goes that stands in the way: `perf.data.old`, as perf does.
pub(super) fn old(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".old");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_before_the_ending() {
        let name = |path: &str, number, zstd| numbered(Path::new(path), number, zstd).display().to_string();
        assert_eq!(name("a/perf.data", None, false), "a/perf.data");
        assert_eq!(name("a/perf.data", Some(2), false), "a/perf-000002.data");
        assert_eq!(name("perf.data", Some(2), true), "perf-000002.data.zst");
        assert_eq!(name("perf.data.zst", None, true), "perf.data.zst");
        assert_eq!(name("trace", Some(12), false), "trace-000012");
        assert_eq!(name(".data", Some(1), false), ".data-000001");
        let dir = tempfile::tempdir().unwrap();
        for name in
            ["t-000012.data", "t-000002.data.zst", "t-1000000.data", "t.data", "t-000003.data.old", "u-000001.data"]
        {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let found = numbered_files(&dir.path().join("t.data")).unwrap();
        let found: Vec<_> = found.iter().map(|(number, path)| (*number, path.file_name().unwrap())).collect();
        assert_eq!(
            found,
            [(2, "t-000002.data.zst".as_ref()), (12, "t-000012.data".as_ref()), (1_000_000, "t-1000000.data".as_ref())]
        );
        assert_eq!(old(Path::new("a/perf.data")), Path::new("a/perf.data.old"));
    }
}
