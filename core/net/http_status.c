#include "net/http_status.h"

slice http_phrase(int status)
{
    switch (status) {
    case 200: return SLICE("OK");
    case 201: return SLICE("Created");
    case 202: return SLICE("Accepted");
    case 204: return SLICE("No Content");
    case 206: return SLICE("Partial Content");
    case 301: return SLICE("Moved Permanently");
    case 302: return SLICE("Found");
    case 303: return SLICE("See Other");
    case 304: return SLICE("Not Modified");
    case 307: return SLICE("Temporary Redirect");
    case 308: return SLICE("Permanent Redirect");
    case 400: return SLICE("Bad Request");
    case 401: return SLICE("Unauthorized");
    case 403: return SLICE("Forbidden");
    case 404: return SLICE("Not Found");
    case 405: return SLICE("Method Not Allowed");
    case 406: return SLICE("Not Acceptable");
    case 408: return SLICE("Request Timeout");
    case 409: return SLICE("Conflict");
    case 410: return SLICE("Gone");
    case 412: return SLICE("Precondition Failed");
    case 413: return SLICE("Content Too Large");
    case 414: return SLICE("URI Too Long");
    case 415: return SLICE("Unsupported Media Type");
    case 416: return SLICE("Range Not Satisfiable");
    case 417: return SLICE("Expectation Failed");
    case 421: return SLICE("Misdirected Request");
    case 422: return SLICE("Unprocessable Content");
    case 428: return SLICE("Precondition Required");
    case 429: return SLICE("Too Many Requests");
    case 431: return SLICE("Request Header Fields Too Large");
    case 500: return SLICE("Internal Server Error");
    case 501: return SLICE("Not Implemented");
    case 502: return SLICE("Bad Gateway");
    case 503: return SLICE("Service Unavailable");
    case 504: return SLICE("Gateway Timeout");
    case 505: return SLICE("HTTP Version Not Supported");
    case 507: return SLICE("Insufficient Storage");
    default: return SLICE("Other");
    }
}
