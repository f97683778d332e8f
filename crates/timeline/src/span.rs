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

/// A moment between whose like events lie: its bounds, the best guess, and whose clock told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) span: Span,
    pub(crate) best: i64,
    /// A guest's TSC told it: the VMCS and the guest's ticks. Between two of one guest time is known better than either.
    pub(crate) guest: Option<(u64, i64)>,
}

impl Known {
    pub(crate) fn at(span: Span) -> Known {
        Known { span, best: span.mid(), guest: None }
    }

    /// What tells of a moment in `edge`, and is written so many ticks after it at the most.
    pub(crate) fn written(edge: Span, late: i64) -> Known {
        Known { span: Span { hi: edge.hi + late, ..edge }, ..Known::at(edge) }
    }

    pub(crate) fn exact(tsc: i64) -> Known {
        Known::at(Span::exact(tsc))
    }

    /// Ticks from `self` to `later`, at least and at most.
    pub(crate) fn until(&self, later: &Known) -> Span {
        let wide = Span { lo: (later.span.lo - self.span.hi).max(0), hi: (later.span.hi - self.span.lo).max(0) };
        match (self.guest, later.guest) {
            (Some((a, from)), Some((b, to))) if a == b => Span::exact(to - from).and(wide).unwrap_or(wide),
            _ => wide,
        }
    }
}
