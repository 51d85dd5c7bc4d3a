/*
 * OpenSSL's functions, loaded with the first secret or certificate: a node that needs neither does not map libssl and
 * libcrypto, nor relocate them. (The same reason as for libcurl in net/fetch.c, which loads the same libraries below
 * itself.)
 *
 * `openssl.SSL_new(...)` is SSL_new of the library. To use another function, add its name to the list.
 */
#ifndef NET_OPENSSL_H
#define NET_OPENSSL_H

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#define OPENSSL_OF_CRYPTO(X) \
    X(ASN1_STRING_to_UTF8) X(ASN1_TIME_to_tm) X(BIO_clear_flags) X(BIO_get_data) X(BIO_meth_new) X(BIO_meth_set_ctrl) \
    X(BIO_meth_set_read) X(BIO_meth_set_write) X(BIO_new) X(BIO_set_data) X(BIO_set_flags) X(BIO_set_init) \
    X(ERR_clear_error) \
    X(ERR_peek_error) X(CRYPTO_free) X(ERR_reason_error_string) X(EVP_sha256) X(HMAC) X(PEM_read_bio_X509) \
    X(X509_NAME_ENTRY_get_data) X(X509_NAME_get_entry) X(X509_NAME_get_index_by_NID) X(X509_STORE_CTX_free) \
    X(X509_STORE_CTX_init) X(X509_STORE_CTX_new) X(X509_STORE_CTX_set_default) X(X509_STORE_add_cert) \
    X(X509_check_host) X(X509_check_private_key) X(X509_free) X(X509_get0_notAfter) X(X509_get0_notBefore) \
    X(X509_get_subject_name) X(X509_up_ref) X(X509_verify_cert) X(X509_verify_cert_error_string) \
    OPENSSL_OF_SIGNATURES(X)

/* For script/std: digests, keys, signatures. */
#define OPENSSL_OF_SIGNATURES(X) \
    X(BIO_free) X(BIO_new_mem_buf) X(BN_bin2bn) X(BN_bn2binpad) X(BN_free) \
    X(BN_num_bits) X(CRYPTO_memcmp) X(ECDSA_SIG_free) X(ECDSA_SIG_get0) \
    X(ECDSA_SIG_new) X(ECDSA_SIG_set0) X(EVP_Digest) X(EVP_DigestSign) X(EVP_DigestSignInit) X(EVP_DigestVerify) \
    X(EVP_DigestVerifyInit) X(EVP_MD_CTX_free) X(EVP_MD_CTX_new) X(EVP_PKEY_CTX_free) X(EVP_PKEY_CTX_new) \
    X(EVP_PKEY_CTX_new_from_name) X(EVP_PKEY_CTX_set_rsa_padding) X(EVP_PKEY_CTX_set_rsa_pss_saltlen) X(EVP_PKEY_eq) \
    X(EVP_PKEY_free) X(EVP_PKEY_fromdata) X(EVP_PKEY_fromdata_init) X(EVP_PKEY_get_base_id) X(EVP_PKEY_get_bits) \
    X(EVP_PKEY_get_bn_param) X(EVP_PKEY_get_group_name) X(EVP_PKEY_get_octet_string_param) \
    X(EVP_PKEY_new_raw_private_key) X(EVP_PKEY_new_raw_public_key) \
    X(EVP_PKEY_pairwise_check) X(EVP_sha384) X(EVP_sha512) X(PEM_read_bio_PUBKEY) X(PEM_read_bio_PrivateKey) \
    X(d2i_ECDSA_SIG) X(i2d_ECDSA_SIG) X(EVP_MD_fetch)

#define OPENSSL_OF_SSL(X) \
    X(SSL_CIPHER_find) X(SSL_CTX_add_client_CA) X(SSL_CTX_callback_ctrl) X(SSL_CTX_ctrl) X(SSL_CTX_free) \
    X(SSL_CTX_new) X(SSL_CTX_set_ciphersuites) \
    X(SSL_CTX_set_num_tickets) X(SSL_CTX_set_options) X(SSL_CTX_set_psk_find_session_callback) \
    X(SSL_CTX_set_psk_use_session_callback) X(SSL_SESSION_free) X(SSL_SESSION_new) X(SSL_SESSION_set1_master_key) \
    X(SSL_SESSION_set_cipher) X(SSL_SESSION_set_protocol_version) X(SSL_do_handshake) X(SSL_free) X(SSL_get_error) \
    X(SSL_get_ex_data) X(SSL_key_update) X(SSL_new) X(SSL_read) X(SSL_session_reused) X(SSL_set_accept_state) \
    X(SSL_set_bio) X(SSL_set_connect_state) X(SSL_set_ex_data) X(SSL_set_verify) X(SSL_shutdown) X(SSL_write) \
    X(SSL_CTX_get_cert_store) X(SSL_CTX_set_alpn_select_cb) X(SSL_CTX_set_cipher_list) \
    X(SSL_CTX_set_session_id_context) X(SSL_CTX_set_timeout) X(SSL_CTX_set_verify) X(SSL_CTX_use_PrivateKey) \
    X(SSL_CTX_use_certificate) X(SSL_get0_peer_certificate) X(SSL_get_peer_cert_chain) X(SSL_get_servername) \
    X(SSL_get_verify_result) X(SSL_has_pending) X(SSL_set_SSL_CTX) X(TLS_method)

struct openssl {
#define X(name) __typeof__(name) *name;
    OPENSSL_OF_CRYPTO(X)
    OPENSSL_OF_SSL(X)
#undef X
};

extern struct openssl openssl;

/* Loads the libraries once. 0, or -ERR_UNAVAILABLE after an error line. */
int openssl_load(void);

/* SHA-256 after that, looked up once: EVP_sha256() makes each digest look it up, which takes longer than the digest. */
const EVP_MD *openssl_sha256(void);

#endif
