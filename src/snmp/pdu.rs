//! What GET, GETNEXT, GETBULK and SET answer (RFC 1157, 3416, and RFC 3584 where version 1 differs).

use rasn_smi::v2::{ApplicationSyntax, ObjectSyntax};
use rasn_snmp::v2::{ObjectName, Pdu, VarBind, VarBindList, VarBindValue};

pub(super) use super::message::ResponsePdu;
use super::message::{self, Message, Operation, Version};
use super::snapshot::View;
use super::tree::{Found, Tree};

/// Octets of the shortest binding: a SEQUENCE of an object identifier of one octet and a NULL (X.690).
const BINDING_OCTETS_MIN: usize = 2 + 3 + 2;

/// Rows and leaves that one request may cost. The largest that is answered has some hundred bindings, each of which passes
/// over every leaf at most; only a view of many single rows, most of which are not there, comes near.
const LOOKS_MAX: u32 = 100_000;

/// The response to a request; `None` where even the shortest is too long, or the PDU is not for us.
pub(super) fn respond(tree: &Tree, view: &View<'_>, request: &Message) -> Option<ResponsePdu> {
    let outcome = match request.operation {
        // No answer has room for as many, whatever they are: there is nothing to look for.
        Operation::Get | Operation::GetNext
            if request.bindings.len() * BINDING_OCTETS_MIN > request.octets_max() =>
        {
            return too_big(request);
        }
        Operation::Get => get(tree, view, request),
        Operation::GetNext => get_next(tree, view, request),
        Operation::GetBulk { non_repeaters, max_repetitions } => {
            Ok(get_bulk(tree, view, request, at_least_zero(non_repeaters), at_least_zero(max_repetitions)))
        }
        Operation::Set => set(request),
        Operation::Inform | Operation::Unhandled => return None,
    };
    let response = match outcome {
        Ok(bindings) => ResponsePdu { error_status: 0, error_index: 0, bindings },
        Err(Failure { status: Pdu::ERROR_STATUS_TOO_BIG, .. }) => return too_big(request),
        // The bindings of an error are those of the request, values and all (RFC 1157, 4.1.2; RFC 3416, 4.2.1).
        Err(Failure { status, index }) => {
            ResponsePdu { error_status: status, error_index: index, bindings: request.bindings.clone() }
        }
    };
    if fits(request, &response) { Some(response) } else { too_big(request) }
}

/// What a request is told that its sender may not make (RFC 3413, 3.2): the user is known, and its level too low.
pub(super) fn unauthorized(request: &Message) -> Option<ResponsePdu> {
    let response = ResponsePdu {
        error_status: Pdu::ERROR_STATUS_AUTHORIZATION_ERROR,
        error_index: 0,
        bindings: request.bindings.clone(),
    };
    if fits(request, &response) { Some(response) } else { too_big(request) }
}

/// Version 1 sends the request's bindings back (RFC 1157, 4.1.2), version 2 none (RFC 3416, 4.2.1).
fn too_big(request: &Message) -> Option<ResponsePdu> {
    let bindings = match request.version {
        Version::V1 => request.bindings.clone(),
        Version::V2c | Version::V3 => Vec::new(),
    };
    let response = ResponsePdu { error_status: Pdu::ERROR_STATUS_TOO_BIG, error_index: 0, bindings };
    fits(request, &response).then_some(response)
}

/// An error of the whole request: its status, and which binding is at fault, from 1.
struct Failure {
    status: u32,
    index: u32,
}

impl Failure {
    fn at(position: usize, status: u32) -> Self {
        Self { status, index: u32::try_from(position + 1).unwrap_or(u32::MAX) }
    }
}

fn get(tree: &Tree, view: &View<'_>, request: &Message) -> Result<VarBindList, Failure> {
    collect(view, request, |name| {
        view.look();
        let value = match tree.get(view, name) {
            Found::Value(value) => message::value(value),
            Found::NoSuchObject => VarBindValue::NoSuchObject,
            Found::NoSuchInstance => VarBindValue::NoSuchInstance,
        };
        VarBind { name: name.clone(), value }
    })
}

fn get_next(tree: &Tree, view: &View<'_>, request: &Message) -> Result<VarBindList, Failure> {
    collect(view, request, |name| next(tree, view, request.version, name))
}

/// One answer for each binding, in order.
fn collect(
    view: &View<'_>,
    request: &Message,
    answer: impl Fn(&ObjectName) -> VarBind,
) -> Result<VarBindList, Failure> {
    let mut octets = 0;
    let mut bindings = Vec::with_capacity(request.bindings.len().min(128));
    for (position, asked) in request.bindings.iter().enumerate() {
        // Whoever asks for less at once gets it.
        if position > 0 && view.looks() > LOOKS_MAX {
            return Err(Failure { status: Pdu::ERROR_STATUS_TOO_BIG, index: 0 });
        }
        let answer = answer(&asked.name);
        if !is_carried(request.version, &answer.value) {
            return Err(Failure::at(position, Pdu::ERROR_STATUS_NO_SUCH_NAME));
        }
        octets += message::binding_length(&answer);
        // What will not fit needs no end; but version 1 must still find the name that does not exist.
        if octets <= request.octets_max() || request.version == Version::V1 {
            bindings.push(answer);
        } else {
            return Err(Failure { status: Pdu::ERROR_STATUS_TOO_BIG, index: 0 });
        }
    }
    Ok(bindings)
}

/// Version 1 has neither exceptions nor Counter64: the name does not exist (RFC 3584, 4.2.2.1).
fn is_carried(version: Version, value: &VarBindValue) -> bool {
    match (version, value) {
        (Version::V2c | Version::V3, _) => true,
        (
            Version::V1,
            VarBindValue::Value(ObjectSyntax::ApplicationWide(ApplicationSyntax::BigCounter(_))),
        ) => false,
        (Version::V1, value) => matches!(value, VarBindValue::Value(_)),
    }
}

fn next(tree: &Tree, view: &View<'_>, version: Version, name: &ObjectName) -> VarBind {
    match tree.next(view, name, version != Version::V1) {
        Some((name, value)) => {
            VarBind { name: ObjectName::new_unchecked(name.into()), value: message::value(value) }
        }
        None => VarBind { name: name.clone(), value: VarBindValue::EndOfMibView },
    }
}

/// RFC 3416, 4.2.3: as many bindings as fit.
fn get_bulk(
    tree: &Tree,
    view: &View<'_>,
    request: &Message,
    non_repeaters: usize,
    max_repetitions: usize,
) -> VarBindList {
    let overhead = |bindings| request.response_length(0, 0, bindings);
    let mut octets = 0;
    let mut bindings: VarBindList = Vec::new();
    let mut push = |bindings: &mut VarBindList, binding: VarBind| {
        octets += message::binding_length(&binding);
        let is_cheap = bindings.is_empty() || view.looks() <= LOOKS_MAX;
        let fits = is_cheap && overhead(octets) <= request.octets_max();
        if fits {
            bindings.push(binding);
        }
        fits
    };
    let (single, repeated) = request.bindings.split_at(non_repeaters.min(request.bindings.len()));
    for asked in single {
        if !push(&mut bindings, next(tree, view, request.version, &asked.name)) {
            return bindings;
        }
    }
    let mut names: Vec<_> = repeated.iter().map(|asked| asked.name.clone()).collect();
    for _ in 0..max_repetitions {
        let mut ended = true;
        for name in &mut names {
            let answer = next(tree, view, request.version, name);
            ended &= answer.value == VarBindValue::EndOfMibView;
            *name = answer.name.clone();
            if !push(&mut bindings, answer) {
                return bindings;
            }
        }
        // Nothing comes after the end (and without names there is nothing to repeat).
        if ended {
            break;
        }
    }
    bindings
}

/// Nothing is writable: the view for writing is empty (RFC 3416, 4.2.5, first rule), which is `noSuchName` in
/// version 1 (RFC 3584, 4.4).
fn set(request: &Message) -> Result<VarBindList, Failure> {
    match (request.bindings.is_empty(), request.version) {
        (true, _) => Ok(Vec::new()),
        (false, Version::V1) => Err(Failure::at(0, Pdu::ERROR_STATUS_NO_SUCH_NAME)),
        (false, Version::V2c | Version::V3) => Err(Failure::at(0, Pdu::ERROR_STATUS_NO_ACCESS)),
    }
}

fn fits(request: &Message, response: &ResponsePdu) -> bool {
    let bindings = response.bindings.iter().map(message::binding_length).sum();
    request.response_length(response.error_status, response.error_index, bindings) <= request.octets_max()
}

fn at_least_zero(number: i32) -> usize {
    usize::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests;
