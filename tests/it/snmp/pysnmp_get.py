"""Reads one object by SNMPv3 with pysnmp: HOST PORT OID, then USER:AUTHENTICATION:PRIVACY for each line of output."""
import asyncio
import sys

from pysnmp.hlapi.v3arch import asyncio as snmp

AUTHENTICATION = {
    "MD5": snmp.USM_AUTH_HMAC96_MD5,
    "SHA": snmp.USM_AUTH_HMAC96_SHA,
    "SHA-224": snmp.USM_AUTH_HMAC128_SHA224,
    "SHA-256": snmp.USM_AUTH_HMAC192_SHA256,
    "SHA-384": snmp.USM_AUTH_HMAC256_SHA384,
    "SHA-512": snmp.USM_AUTH_HMAC384_SHA512,
}
PRIVACY = {
    "none": snmp.USM_PRIV_NONE,
    "DES": snmp.USM_PRIV_CBC56_DES,
    "AES-128": snmp.USM_PRIV_CFB128_AES,
    "AES-256": snmp.USM_PRIV_CFB256_AES_BLUMENTHAL,
    "AES-256-C": snmp.USM_PRIV_CFB256_AES,
}


async def read(host, port, oid, user):
    name, authentication, privacy = user.split(":")
    keys = snmp.UsmUserData(
        name,
        "the first passphrase",
        "the second passphrase" if privacy != "none" else None,
        authProtocol=AUTHENTICATION[authentication],
        privProtocol=PRIVACY[privacy],
    )
    target = await snmp.UdpTransportTarget.create((host, int(port)), timeout=10, retries=2)
    asked = snmp.ObjectType(snmp.ObjectIdentity(oid))
    problem, status, _, bindings = await snmp.get_cmd(
        snmp.SnmpEngine(), keys, target, snmp.ContextData(), asked, lookupMib=False
    )
    return problem or status or bindings[0][1].prettyPrint()


async def main(host, port, oid, *users):
    for user in users:
        print(user, await read(host, port, oid, user))


asyncio.run(main(*sys.argv[1:]))
