//! IAM is global: whatever region a request was signed for, its resources are those of the account.

use pileus_service::Context;

/// Runs a handler in the account's global scope.
pub(crate) fn globally<T>(cx: &mut Context, handler: impl FnOnce(&mut Context) -> T) -> T {
    let global = cx.scope().global();
    let Context { tx, bulk, caller, now, ids, entropy, endpoint } = cx;
    tx.within(global, |tx| {
        handler(&mut Context { tx, bulk, caller, now: *now, ids, entropy: *entropy, endpoint })
    })
}
