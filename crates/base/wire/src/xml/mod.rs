//! XML of the query and ec2Query protocols: responses, written by the server and read by the client.

mod read;
mod tree;
mod write;

pub(crate) use read::decode;
pub(crate) use tree::parse;
pub(crate) use write::{Writer, structure};
