//! Bounds of a moment.

/// A moment lies in `lo..=hi`: host TSC ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) lo: i64,
    pub(crate) hi: i64,
}

/// Far enough from every TSC that sums with it do not overflow.
pub(crate) const FAR: i64 = i64::MAX / 4;

impl Span {
    pub(crate) const ANY: Span = Span { lo: -FAR, hi: FAR };

    pub(crate) const fn exact(tsc: i64) -> Span {
        Span { lo: tsc, hi: tsc }
    }

    pub(crate) fn width(self) -> i64 {
        self.hi - self.lo
    }

    pub(crate) fn mid(self) -> i64 {
        self.lo + self.width() / 2
    }

    /// What lies in both; `None` where nothing does.
    pub(crate) fn and(self, other: Span) -> Option<Span> {
        let both = Span { lo: self.lo.max(other.lo), hi: self.hi.min(other.hi) };
        (both.lo <= both.hi).then_some(both)
    }

    pub(crate) fn clamp(self, tsc: i64) -> i64 {
        tsc.max(self.lo).min(self.hi)
    }
}
