"""What the OSS server of the tests answers when it refuses: the service's own codes, texts and XML."""

from __future__ import annotations

from xml.sax.saxutils import escape

_STATUS_AND_MESSAGE = {
    "AccessDenied": (403, "You have no right to access this object because of bucket acl."),
    "EntityTooSmall": (400, "Your proposed upload smaller than the minimum allowed size."),
    "FileAlreadyExists": (409, "The object you specified already exists and can not be overwritten."),
    "InternalError": (500, "Please contact the server administrator, oss@service.aliyun.com."),
    "InvalidAccessKeyId": (403, "The OSS Access Key Id you provided does not exist in our records."),
    "InvalidArgument": (400, "Invalid Argument"),
    "InvalidDigest": (400, "The Content-MD5 you specified is not valid."),
    "InvalidObjectName": (400, "The specified object is not valid."),
    "InvalidObjectState": (403, "The operation is not valid for the object's state"),
    "InvalidPart": (
        400,
        "One or more of the specified parts could not be found or the specified ETag might not match.",
    ),
    "InvalidPartOrder": (
        400,
        "The list of parts was not in ascending order. Parts list must specified in order by part number.",
    ),
    "InvalidRange": (416, "The requested range cannot be satisfied"),
    "InvalidSecurityToken": (403, "The security token you provided is invalid."),
    "MalformedXML": (400, "The XML you provided was not well-formed or did not validate against our published schema."),
    "NoSuchBucket": (404, "The specified bucket does not exist."),
    "NoSuchKey": (404, "The specified key does not exist."),
    "NoSuchUpload": (
        404,
        "The specified upload does not exist: it is unknown, or was aborted or completed.",
    ),
    "NotImplemented": (501, "A header you provided implies functionality that is not implemented."),
    "NotModified": (304, ""),
    "PreconditionFailed": (412, "At least one of the pre-conditions you specified did not hold."),
    "RequestTimeTooSkewed": (403, "The difference between the request time and the current time is too large."),
    "SecurityTokenExpired": (403, "The security token you provided has expired."),
    "ServiceUnavailable": (503, "Please reduce your request rate."),
    "SignatureDoesNotMatch": (
        403,
        "The request signature we calculated does not match the signature you provided. Check your key and method.",
    ),
}


class RefusalError(Exception):
    """A request refused with one of the service's codes; `details` are more elements of the error's XML."""

    def __init__(self, code: str, message: str = "", *, status: int = 0, **details: object) -> None:
        known_status, known_message = _STATUS_AND_MESSAGE.get(code, (400, ""))
        self.code, self.status, self.message = code, status or known_status, message or known_message
        self.details = details
        super().__init__(f"{self.status} {code}: {self.message}")

    def xml(self, request_id: str, host: str) -> bytes:
        """The error as OSS spells it."""
        fields = {"Code": self.code, "Message": self.message, "RequestId": request_id, "HostId": host, **self.details}
        elements = "".join(f"  <{name}>{escape(str(value))}</{name}>\n" for name, value in fields.items())
        return f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>\n{elements}</Error>\n'.encode()


def code_of(status: int) -> str:
    """The code that OSS sends most often with an HTTP `status`."""
    return {403: "AccessDenied", 404: "NoSuchKey", 412: "PreconditionFailed", 500: "InternalError"}.get(
        status, "ServiceUnavailable"
    )
