//! The format of flow log records: `${field} ${field} …`.
//! <https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html>

use pileus_core::ApiError;

use crate::resource::invalid;

/// Version 2, which AWS uses where none is asked for.
pub(super) const DEFAULT: &str = "${version} ${account-id} ${interface-id} ${srcaddr} ${dstaddr} ${srcport} ${dstport} ${protocol} \
     ${packets} ${bytes} ${start} ${end} ${action} ${log-status}";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Field {
    Version,
    AccountId,
    InterfaceId,
    SourceAddress,
    DestinationAddress,
    SourcePort,
    DestinationPort,
    Protocol,
    Packets,
    Bytes,
    Start,
    End,
    Action,
    LogStatus,
    VpcId,
    SubnetId,
    /// Always `-`: no interface is an instance's.
    InstanceId,
    Type,
    PacketSource,
    PacketDestination,
    Region,
    ZoneId,
    FlowDirection,
}

const FIELDS: [(&str, Field); 23] = [
    ("version", Field::Version),
    ("account-id", Field::AccountId),
    ("interface-id", Field::InterfaceId),
    ("srcaddr", Field::SourceAddress),
    ("dstaddr", Field::DestinationAddress),
    ("srcport", Field::SourcePort),
    ("dstport", Field::DestinationPort),
    ("protocol", Field::Protocol),
    ("packets", Field::Packets),
    ("bytes", Field::Bytes),
    ("start", Field::Start),
    ("end", Field::End),
    ("action", Field::Action),
    ("log-status", Field::LogStatus),
    ("vpc-id", Field::VpcId),
    ("subnet-id", Field::SubnetId),
    ("instance-id", Field::InstanceId),
    ("type", Field::Type),
    ("pkt-srcaddr", Field::PacketSource),
    ("pkt-dstaddr", Field::PacketDestination),
    ("region", Field::Region),
    ("az-id", Field::ZoneId),
    ("flow-direction", Field::FlowDirection),
];

impl Field {
    /// The version of the record format that brought the field.
    fn version(self) -> u8 {
        match self {
            field if field <= Self::LogStatus => 2,
            Self::Region | Self::ZoneId => 4,
            Self::FlowDirection => 5,
            _ => 3,
        }
    }
}

/// The version that a record of these fields is of.
pub(super) fn version(fields: &[Field]) -> u8 {
    fields.iter().map(|field| field.version()).max().unwrap_or(2)
}

/// # Errors
/// The format is malformed, or has a field that is not here.
pub(super) fn parse(text: &str) -> Result<Vec<Field>, ApiError> {
    let field = |word: &str| {
        let name = word.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
        let name = name.ok_or_else(|| invalid(format!("Invalid LogFormat: '{word}' is no field.")))?;
        let known = FIELDS.iter().find(|(known, _)| *known == name);
        known
            .map(|(_, field)| *field)
            .ok_or_else(|| ApiError::not_implemented(format_args!("the field '{name}' of LogFormat")))
    };
    let fields = text.split_whitespace().map(field).collect::<Result<Vec<_>, _>>()?;
    if fields.is_empty() { Err(invalid("Invalid LogFormat: it has no fields.")) } else { Ok(fields) }
}
