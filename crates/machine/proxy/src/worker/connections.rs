//! A worker's open client connections: how many, and a way to tell those of a closed door, or of a load balancer
//! that is gone, to finish.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::task::Waker;

use super::Door;

#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: Rc<RefCell<HashMap<u64, Rc<State>>>>,
    next: Cell<u64>,
}

#[derive(Debug)]
struct State {
    door: Door,
    /// The load balancer that it was last for.
    load_balancer: RefCell<String>,
    closing: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// One open connection; leaves the list when dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    id: u64,
    state: Rc<State>,
    open: Weak<RefCell<HashMap<u64, Rc<State>>>>,
}

impl Connections {
    pub(crate) fn open(&self, door: Door) -> Slot {
        let id = self.next.replace(self.next.get() + 1);
        let state = Rc::new(State {
            door,
            load_balancer: RefCell::default(),
            closing: Cell::new(false),
            waker: RefCell::default(),
        });
        self.open.borrow_mut().insert(id, Rc::clone(&state));
        Slot { id, state, open: Rc::downgrade(&self.open) }
    }

    pub(crate) fn count(&self) -> usize {
        self.open.borrow().len()
    }

    /// Of the connections that `keeps` does not hold for: idle ones close now, the others after the request they
    /// are at, tunnels at once. It is asked by door and load balancer, which is empty before the first request.
    pub(crate) fn close_unless(&self, keeps: impl Fn(Door, &str) -> bool) {
        for state in
            self.open.borrow().values().filter(|state| !keeps(state.door, &state.load_balancer.borrow()))
        {
            state.closing.set(true);
            if let Some(waker) = state.waker.borrow().as_ref() {
                waker.wake_by_ref();
            }
        }
    }
}

impl Slot {
    pub(crate) fn door(&self) -> Door {
        self.state.door
    }

    pub(crate) fn belongs_to(&self, load_balancer: &str) {
        let mut stored = self.state.load_balancer.borrow_mut();
        stored.clear();
        stored.push_str(load_balancer);
    }

    pub(crate) fn closing(&self) -> bool {
        self.state.closing.get()
    }

    /// A task's waker stays the same, so it is stored once.
    pub(crate) fn register(&self, waker: &Waker) {
        let mut stored = self.state.waker.borrow_mut();
        if !stored.as_ref().is_some_and(|stored| stored.will_wake(waker)) {
            *stored = Some(waker.clone());
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(open) = self.open.upgrade() {
            open.borrow_mut().remove(&self.id);
        }
    }
}
