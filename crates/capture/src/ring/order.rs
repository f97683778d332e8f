//! Who may touch which bytes of a ring, and when.
//!
//! The kernel writes bytes, then publishes head; so whoever reads head with *acquire* sees the bytes before it. We read
//! bytes, then publish tail with *release*; so the kernel, which reads tail before it writes, overwrites nothing that is
//! still being read (`perf_output_put_handle`, `perf_output_begin`). Only we write tail, so we need no order to read it.
//!
//! Words are a trait so that tests run these very functions under a model checker.

use std::sync::atomic::{AtomicU64, Ordering};

/// A word that two sides share.
pub trait Word {
    /// Reads it.
    fn load(&self, order: Ordering) -> u64;
    /// Writes it.
    fn store(&self, value: u64, order: Ordering);
}

impl Word for AtomicU64 {
    fn load(&self, order: Ordering) -> u64 {
        AtomicU64::load(self, order)
    }

    fn store(&self, value: u64, order: Ordering) {
        AtomicU64::store(self, value, order);
    }
}

/// Bytes of a ring's stream that are ours to read: up to `to`, from `from` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Place in the stream.
    pub from: u64,
    /// Place in the stream.
    pub to: u64,
}

impl Span {
    /// How many bytes.
    pub fn len(self) -> usize {
        usize::try_from(self.to - self.from).unwrap_or(usize::MAX)
    }

    /// None.
    pub fn is_empty(self) -> bool {
        self.from == self.to
    }
}

/// What has come and was not given back.
///
/// A head that is further from tail than the ring is long is none that a kernel makes; the newest bytes are then ours.
pub fn filled<W: Word + ?Sized>(head: &W, tail: &W, size: usize) -> Span {
    let (to, from) = (head.load(Ordering::Acquire), tail.load(Ordering::Relaxed));
    let oldest = to.saturating_sub(size as u64);
    Span { from: from.clamp(oldest, to), to }
}

/// Gives back all before `to`: the kernel may write there.
pub fn give_back<W: Word + ?Sized>(tail: &W, to: u64) {
    tail.store(to, Ordering::Release);
}

#[cfg(test)]
mod tests {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicU64 as ModelWord;

    impl Word for ModelWord {
        fn load(&self, order: Ordering) -> u64 {
            ModelWord::load(self, order)
        }

        fn store(&self, value: u64, order: Ordering) {
            ModelWord::store(self, value, order);
        }
    }

    const SIZE: usize = 2;

    struct Ring {
        head: ModelWord,
        tail: ModelWord,
        bytes: [UnsafeCell<u64>; SIZE],
    }

    /// The kernel's side, as `ring_buffer.c` has it: never past tail, and head last.
    fn write(ring: &Ring, count: u64, tail_order: Ordering, head_order: Ordering) {
        for value in 0..count {
            let head = ring.head.load(Ordering::Relaxed);
            while head - ring.tail.load(tail_order) >= SIZE as u64 {
                loom::thread::yield_now();
            }
            ring.bytes[head as usize % SIZE].with_mut(|byte| {
                // SAFETY: the checker itself says where another looks at it meanwhile.
                unsafe { *byte = value };
            });
            ring.head.store(head + 1, head_order);
        }
    }

    fn model(count: u64, kernel_tail: Ordering, kernel_head: Ordering) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = Some(3);
        builder.check(move || {
            let ring = Arc::new(Ring {
                head: ModelWord::new(0),
                tail: ModelWord::new(0),
                bytes: std::array::from_fn(|_| UnsafeCell::new(u64::MAX)),
            });
            let kernel = {
                let ring = ring.clone();
                loom::thread::spawn(move || write(&ring, count, kernel_tail, kernel_head))
            };
            let mut seen = 0;
            while seen < count {
                let span = filled(&ring.head, &ring.tail, SIZE);
                for at in span.from..span.to {
                    let value = ring.bytes[at as usize % SIZE].with(|byte| {
                        // SAFETY: as above.
                        unsafe { *byte }
                    });
                    assert_eq!(value, at, "bytes in their order, none twice, none lost");
                    seen += 1;
                }
                if span.is_empty() {
                    loom::thread::yield_now();
                } else {
                    give_back(&ring.tail, span.to);
                }
            }
            kernel.join().unwrap();
        });
    }

    #[test]
    fn no_byte_is_read_before_it_is_written_nor_written_before_it_is_read() {
        model(3, Ordering::Acquire, Ordering::Release);
    }

    /// The checker would see it: a kernel that publishes without order is caught.
    #[test]
    #[should_panic(expected = "Causality violation")]
    fn a_kernel_without_order_is_caught() {
        model(3, Ordering::Acquire, Ordering::Relaxed);
    }

    #[test]
    fn a_head_that_no_kernel_makes() {
        let word = |value| AtomicU64::new(value);
        assert_eq!(filled(&word(100), &word(90), 64), Span { from: 90, to: 100 });
        assert_eq!(filled(&word(100), &word(10), 64), Span { from: 36, to: 100 });
        assert_eq!(filled(&word(5), &word(9), 64), Span { from: 5, to: 5 });
    }
}
