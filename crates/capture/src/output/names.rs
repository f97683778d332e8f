//! What files are called.

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
        assert_eq!(old(Path::new("a/perf.data")), Path::new("a/perf.data.old"));
    }
}
