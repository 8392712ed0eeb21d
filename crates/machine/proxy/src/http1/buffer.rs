//! A growable byte window: what was read and not yet used lies between `start` and `end`.
//!
//! The storage is initialised once and reused from request to request, so reading costs no clearing and no
//! allocation. It grows only for heads that need it and never beyond the limit that the caller gives.

/// Storage that a fresh buffer has; most heads and small answers fit.
pub(crate) const INITIAL: usize = 16 * 1024;

#[derive(Debug)]
pub(crate) struct Buffer {
    data: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    pub(crate) fn new() -> Self {
        Self { data: vec![0; INITIAL], start: 0, end: 0 }
    }

    pub(crate) fn filled(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Forgets the first `count` filled bytes.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end, "consumed more than was filled");
        if self.start == self.end {
            self.clear();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    /// Room to read into; grows up to `limit` bytes of storage. Empty when the limit is reached.
    pub(crate) fn space(&mut self, limit: usize) -> &mut [u8] {
        if self.end == self.data.len() {
            if self.start > 0 {
                self.data.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            } else if self.data.len() < limit {
                let grown = (self.data.len() * 2).min(limit);
                self.data.resize(grown, 0);
            }
        }
        &mut self.data[self.end..]
    }

    /// Makes the storage at least `size` bytes.
    pub(crate) fn grow(&mut self, size: usize) {
        if self.data.len() < size {
            self.data.resize(size, 0);
        }
    }

    /// Says that `count` bytes of [`Self::space`] were written.
    pub(crate) fn filled_more(&mut self, count: usize) {
        self.end += count;
        debug_assert!(self.end <= self.data.len(), "filled more than there was space");
    }

    /// Back to the initial size, so that one large head does not cost memory for ever.
    pub(crate) fn reset(&mut self) {
        self.clear();
        if self.data.len() > INITIAL {
            self.data.truncate(INITIAL);
            self.data.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_the_limit_and_makes_room_by_moving() {
        let mut buffer = Buffer::new();
        let space = buffer.space(INITIAL).len();
        buffer.filled_more(space);
        assert!(buffer.space(INITIAL).is_empty(), "limit reached");
        assert_eq!(buffer.space(2 * INITIAL).len(), INITIAL);
        buffer.consume(100);
        let rest = buffer.space(2 * INITIAL).len();
        buffer.filled_more(rest);
        assert_eq!(buffer.space(2 * INITIAL).len(), 100, "the consumed part is room again");
        buffer.reset();
        assert_eq!((buffer.data.len(), buffer.is_empty()), (INITIAL, true));
    }
}
