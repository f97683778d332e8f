//! The mapped memory of a cpu's rings. All the `unsafe` of rings is here.
//!
//! Invariants: `page` is the first page of a live mapping of at least `1 page + data.len` bytes, `data` lies in it; `aux`
//! is a live mapping of its own; both last as long as the value does.

use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use havana_trace::perf_data::TimeConv;
use perf_event_open_sys::bindings::perf_event_mmap_page as Page;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

use super::order::{self, Span};
use crate::fake::FakeKernel;

/// Sizes of a cpu's rings, bytes: powers of two, pages at least; `aux` may be 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Of records.
    pub data: usize,
    /// Of trace.
    pub aux: usize,
}

/// A ring of records, and perhaps one of trace: our side, of which there is one.
#[derive(Debug)]
pub struct Rings(Arc<Memory>);

/// The memory that both sides see.
#[derive(Debug)]
pub(crate) struct Memory {
    page: NonNull<Page>,
    /// Bytes of the mapping that begins with `page`.
    mapped: usize,
    data: NonNull<u8>,
    size: Size,
    aux: NonNull<u8>,
}

// SAFETY: the memory belongs to the value alone, on our side; what the kernel shares are the words, which are atomic.
unsafe impl Send for Memory {}
// SAFETY: the kernel's side of it, which tests take on, writes only what our side was not given.
unsafe impl Sync for Memory {}

/// Bytes of a ring, in their order: the second slice is what goes on at its begin.
type Slices<'a> = [&'a [u8]; 2];

impl Rings {
    /// Maps the rings of an event. `overwritten`: nobody will empty them.
    ///
    /// # Errors
    /// What the system says; nothing stays mapped.
    pub fn of_event(fd: BorrowedFd<'_>, size: Size, overwritten: bool) -> Result<Rings, Errno> {
        let page = rustix::param::page_size();
        // An AUX ring's place is written into the first page, so only a ring without one is mapped to be read alone.
        let writable = !overwritten || size.aux > 0;
        let base = map(Some(fd), page + size.data, writable, 0)?;
        let mut rings = Memory::new(base, page, Size { data: size.data, aux: 0 });
        if size.aux > 0 {
            let offset = (page + size.data) as u64;
            // SAFETY: `page` is mapped, and to be written; the kernel reads these two when AUX is mapped.
            unsafe {
                (&raw mut (*rings.page.as_ptr()).aux_offset).write_volatile(offset);
                (&raw mut (*rings.page.as_ptr()).aux_size).write_volatile(size.aux as u64);
            }
            rings.aux = map(Some(fd), size.aux, !overwritten, offset)?;
            rings.size.aux = size.aux;
        }
        Ok(Rings(Arc::new(rings)))
    }

    /// Rings that no kernel knows of, and one that is none, to write into them.
    ///
    /// # Errors
    /// What the system says.
    pub fn in_memory(size: Size) -> Result<(Rings, FakeKernel), Errno> {
        let page = rustix::param::page_size();
        let base = map(None, page + size.data, true, 0)?;
        let mut rings = Memory::new(base, page, Size { data: size.data, aux: 0 });
        if size.aux > 0 {
            rings.aux = map(None, size.aux, true, 0)?;
            rings.size.aux = size.aux;
        }
        let rings = Arc::new(rings);
        let kernel = FakeKernel::new(rings.clone());
        Ok((Rings(rings), kernel))
    }

    /// Their sizes.
    pub fn size(&self) -> Size {
        self.0.size
    }

    /// Records that have come. They stay until they are [given back](Rings::give_back_data).
    pub fn data(&mut self) -> (Span, Slices<'_>) {
        let Memory { data, size, .. } = *self.0;
        let span = order::filled(self.0.data_head(), self.0.data_tail(), size.data);
        // SAFETY: between tail and head nobody writes, until tail is moved; that takes `&mut self`, which these slices
        // borrow.
        (span, unsafe { slices(data, size.data, span) })
    }

    /// All records before this place of the stream were read.
    pub fn give_back_data(&mut self, to: u64) {
        order::give_back(self.0.data_tail(), to);
    }

    /// Trace that has come. It stays until it is [given back](Rings::give_back_aux).
    pub fn aux(&mut self) -> (Span, Slices<'_>) {
        let Memory { aux, size, .. } = *self.0;
        let span = order::filled(self.0.aux_head(), self.0.aux_tail(), size.aux);
        // SAFETY: as for records.
        (span, unsafe { slices(aux, size.aux, span) })
    }

    /// All trace before this place of the stream was read.
    pub fn give_back_aux(&mut self, to: u64) {
        order::give_back(self.0.aux_tail(), to);
    }

    pub(super) fn memory(&self) -> &Memory {
        &self.0
    }

    /// How event times follow from the TSC. `None` where the kernel does not say (`cap_user_time_zero`), as on a host
    /// whose TSC is not stable.
    pub fn clock(&self) -> Option<TimeConv> {
        self.0.clock()
    }
}

impl Memory {
    fn new(base: NonNull<u8>, page: usize, size: Size) -> Memory {
        // SAFETY: the mapping is `page + size.data` bytes long.
        let data = unsafe { base.add(page) };
        Memory { page: base.cast(), mapped: page + size.data, data, size, aux: NonNull::dangling() }
    }

    pub(crate) fn size(&self) -> Size {
        self.size
    }

    /// The word at this place of the first page.
    fn word(&self, place: impl Fn(*mut Page) -> *mut u64) -> &AtomicU64 {
        // SAFETY: the place lies in the first page, which lives as long as `self`, aligned as a u64; our side and the
        // kernel's only ever touch it as a whole.
        unsafe { AtomicU64::from_ptr(place(self.page.as_ptr())) }
    }

    pub(crate) fn data_head(&self) -> &AtomicU64 {
        // SAFETY: a place, nothing is read.
        self.word(|page| unsafe { &raw mut (*page).data_head })
    }

    pub(crate) fn data_tail(&self) -> &AtomicU64 {
        // SAFETY: as above.
        self.word(|page| unsafe { &raw mut (*page).data_tail })
    }

    pub(crate) fn aux_head(&self) -> &AtomicU64 {
        // SAFETY: as above.
        self.word(|page| unsafe { &raw mut (*page).aux_head })
    }

    pub(crate) fn aux_tail(&self) -> &AtomicU64 {
        // SAFETY: as above.
        self.word(|page| unsafe { &raw mut (*page).aux_tail })
    }

    /// A copy of the whole data ring, while the kernel may write it.
    pub(crate) fn copy_data(&self) -> Vec<u8> {
        // SAFETY: mapped, page-aligned, so long.
        unsafe { copy(self.data, self.size.data) }
    }

    /// A copy of the whole AUX ring, while the processor may write it.
    pub(crate) fn copy_aux(&self) -> Vec<u8> {
        if self.size.aux == 0 {
            return Vec::new();
        }
        // SAFETY: as above.
        unsafe { copy(self.aux, self.size.aux) }
    }

    /// Writes into the data ring, as the kernel does: before it publishes.
    pub(crate) fn put_data(&self, at: u64, bytes: &[u8]) {
        // SAFETY: for tests' kernels alone, which keep to the rules of the ring.
        unsafe { put(self.data, self.size.data, at, bytes) }
    }

    /// Writes into the AUX ring, as the processor does.
    pub(crate) fn put_aux(&self, at: u64, bytes: &[u8]) {
        // SAFETY: as above.
        unsafe { put(self.aux, self.size.aux, at, bytes) }
    }

    fn clock(&self) -> Option<TimeConv> {
        let page = self.page.as_ptr();
        // SAFETY: in the first page; the kernel changes these under `lock`, an even number before and after.
        let read = || unsafe {
            let lock = (&raw const (*page).lock).read_volatile();
            std::sync::atomic::fence(Ordering::Acquire);
            let has = (*page).__bindgen_anon_1.__bindgen_anon_1.cap_user_time_zero() != 0;
            let shift = (&raw const (*page).time_shift).read_volatile();
            let mult = (&raw const (*page).time_mult).read_volatile();
            let zero = (&raw const (*page).time_zero).read_volatile();
            std::sync::atomic::fence(Ordering::Acquire);
            let same = lock & 1 == 0 && (&raw const (*page).lock).read_volatile() == lock;
            same.then_some((has, shift, mult, zero))
        };
        let (has, shift, mult, zero) = (0..1000).find_map(|_| read())?;
        if has { TimeConv::new(u64::from(shift), u64::from(mult), zero) } else { None }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: mapped by us, so long, and no slice of it is left.
        unsafe {
            let _ = munmap(self.page.as_ptr().cast(), self.mapped);
            if self.size.aux > 0 {
                let _ = munmap(self.aux.as_ptr().cast(), self.size.aux);
            }
        }
    }
}

fn map(fd: Option<BorrowedFd<'_>>, len: usize, writable: bool, offset: u64) -> Result<NonNull<u8>, Errno> {
    let write = if writable { ProtFlags::WRITE } else { ProtFlags::empty() };
    let protection = ProtFlags::READ | write;
    // SAFETY: the system chooses where, so nothing of ours is mapped over.
    let at = unsafe {
        match fd {
            Some(fd) => mmap(std::ptr::null_mut(), len, protection, MapFlags::SHARED, fd, offset)?,
            None => mmap_anonymous(std::ptr::null_mut(), len, protection, MapFlags::SHARED)?,
        }
    };
    NonNull::new(at.cast()).ok_or(Errno::FAULT)
}

/// # Safety
/// `ring` is mapped, `size` bytes long; nobody writes the span while the slices live.
unsafe fn slices<'a>(ring: NonNull<u8>, size: usize, span: Span) -> Slices<'a> {
    let len = span.len();
    if len == 0 {
        return [&[], &[]];
    }
    debug_assert!(len <= size && size.is_power_of_two());
    let begin = span.from as usize & (size - 1);
    let first = len.min(size - begin);
    // SAFETY: both lie in the ring.
    unsafe {
        [
            std::slice::from_raw_parts(ring.as_ptr().add(begin), first),
            std::slice::from_raw_parts(ring.as_ptr(), len - first),
        ]
    }
}

/// Copies words that somebody else may be writing: each is old or new, and what is torn is told by its reader.
///
/// # Safety
/// `ring` is mapped, aligned to eight bytes, `size` bytes long, a multiple of eight.
unsafe fn copy(ring: NonNull<u8>, size: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(size);
    for word in 0..size / 8 {
        // SAFETY: inside the ring, aligned.
        let word = unsafe { AtomicU64::from_ptr(ring.as_ptr().cast::<u64>().add(word)) };
        bytes.extend(word.load(Ordering::Relaxed).to_le_bytes());
    }
    bytes
}

/// # Safety
/// `ring` is mapped, to be written, `size` bytes long; nobody reads where is written.
unsafe fn put(ring: NonNull<u8>, size: usize, at: u64, bytes: &[u8]) {
    debug_assert!(bytes.len() <= size && size.is_power_of_two());
    let begin = at as usize & (size - 1);
    let first = bytes.len().min(size - begin);
    // SAFETY: both lie in the ring, and `bytes` is ours.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), ring.as_ptr().add(begin), first);
        std::ptr::copy_nonoverlapping(bytes.as_ptr().add(first), ring.as_ptr(), bytes.len() - first);
    }
}
