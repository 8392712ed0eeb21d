//! What one request needs while it is served: buffers and parsed heads. Kept and used again, so that serving a
//! request allocates nothing, and an idle connection holds none of it.

use crate::http1::{Buffer, RequestHead, ResponseHead};

#[derive(Debug)]
pub(crate) struct Scratch {
    /// From the client.
    pub(crate) input: Buffer,
    pub(crate) head: RequestHead,
    /// The request is `HEAD`.
    pub(crate) to_head: bool,
    /// The head for the target.
    pub(crate) request: Vec<u8>,
    /// From the target.
    pub(crate) output: Buffer,
    pub(crate) response: ResponseHead,
    /// The head for the client, or a whole answer of the balancer's own.
    pub(crate) answer: Vec<u8>,
}

impl Default for Box<Scratch> {
    fn default() -> Self {
        Box::new(Scratch {
            input: Buffer::new(),
            head: RequestHead::default(),
            to_head: false,
            request: Vec::with_capacity(1024),
            output: Buffer::new(),
            response: ResponseHead::default(),
            answer: Vec::with_capacity(1024),
        })
    }
}

impl Scratch {
    pub(crate) fn reset(&mut self) {
        const KEPT: usize = 8 * 1024;
        self.input.reset();
        self.output.reset();
        for bytes in [&mut self.request, &mut self.answer] {
            bytes.clear();
            bytes.shrink_to(KEPT);
        }
        self.head.fields.shrink_to(64);
        self.response.fields.shrink_to(64);
    }
}
