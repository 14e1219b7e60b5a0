/* limits.h: every bound of Tandem, with its unit. What comes from outside is compared with one of
 * these before it is believed; tests/unit hits each one. Rooms add their lines in their own block.
 */
#ifndef TANDEM_BASE_LIMITS_H
#define TANDEM_BASE_LIMITS_H

/* base */
#define LIMIT_LOG_LINE_BYTES      1024
#define LIMIT_REQUEST_LINES_PER_S 10 /* of requests, at level info; the others are counted */
#define LIMIT_PEER_COMPLAINTS     8  /* different lines a minute about peers refused */
#define LIMIT_BUF_BYTES           (64u << 20)
#define LIMIT_CONFIG_FILE_BYTES   (1u << 20)
#define LIMIT_CONFIG_VALUE_BYTES  4096
#define LIMIT_NAME_BYTES                                                                           \
    63 /* task, edge, tenant and session names, without the NUL: [A-Za-z0-9._-] */

/* engine: model files */
#define LIMIT_MODEL_FILE_BYTES     (INT64_C(64) << 30)
#define LIMIT_MODEL_MAPPINGS       64          /* model files open at once in a process */
#define LIMIT_TEXT_FILE_BYTES      (64u << 20) /* what tandem-model perplexity and evaluate read */
#define LIMIT_GGUF_KEYS            65536
#define LIMIT_GGUF_TENSORS         65536
#define LIMIT_GGUF_KEY_BYTES       256
#define LIMIT_GGUF_TEXT_BYTES      (1u << 20)
#define LIMIT_GGUF_ARRAY_ITEMS     (4u << 20)
#define LIMIT_MODEL_LAYERS         1024
#define LIMIT_MODEL_WIDTH          65536
#define LIMIT_MODEL_HEADS          1024
#define LIMIT_MODEL_CONTEXT_TOKENS (1u << 20)
#define LIMIT_MODEL_VOCABULARY     (1u << 20)
#define LIMIT_MODEL_CLASSES        65536
#define LIMIT_STEM_LAYERS          16
#define LIMIT_CALIBRATION_POINTS   16 /* of a model's table from raw confidence to probability */
#define LIMIT_CALIBRATION_BYTES    (64u << 20) /* logits of all examples of a fit */

/* engine: inputs */
#define LIMIT_PICTURE_BYTES       (16u << 20) /* encoded */
#define LIMIT_PICTURE_SIDE_PIXELS 8192
#define LIMIT_PICTURE_PIXELS      (32u << 20)
#define LIMIT_JPEG_SCANS          100 /* of a progressive picture; each is a pass over all of it */
#define LIMIT_TEXT_BYTES          (256u << 10) /* one request's text */
#define LIMIT_PROMPT_TOKENS       4096         /* tandem.prompt.prefix or .suffix */
#define LIMIT_BATCH_TOKENS        4096         /* one engine step */
#define LIMIT_STEP_THREADS        256          /* of one step */
#define LIMIT_BATCH_SEQUENCES     256
#define LIMIT_MAX_NEW_TOKENS      32768

/* wire */
#define LIMIT_FRAME_HEADER_BYTES (64u << 10) /* protobuf header */
#define LIMIT_FRAME_DATA_BYTES   (32u << 10) /* raw payload of one DATA frame */
#define LIMIT_PAYLOAD_BYTES      (16u << 20) /* all DATA of one request */
#define LIMIT_LABELS             1024 /* in one answer or contract; a larger label set sends its best ones */
#define LIMIT_TASKS              64 /* task files of a daemon, contracts in a hello */
#define LIMIT_BOXES              1024
#define LIMIT_UNPACK_BYTES                                                                         \
    (512u << 10)               /* memory that unpacking one header may take, besides its result */
#define LIMIT_LABEL_BYTES  255 /* text of one label, without the NUL */
#define LIMIT_LINE_BYTES   255 /* texts for people: errors, reasons, without the NUL */
#define LIMIT_TOKENS_BYTES (32u << 10)  /* text of one TOKENS frame */
#define LIMIT_MEMFD_BYTES  (128u << 20) /* a picture from an application on the same machine */
#define LIMIT_STRIDE_BYTES (64u << 10)  /* of a raw picture's first plane */
#define LIMIT_BOX_PIXELS   65536        /* box coordinates are brought into +-this */
#define LIMIT_TEMPERATURE  100
#define LIMIT_DURATION_US                                                                          \
    (INT64_C(3600) * 1000000) /* of a budget or a reported time; longer is read as this */

/* stream */
#define LIMIT_CONNECTIONS  1024         /* a listener's */
#define LIMIT_CREDIT_BYTES (256u << 10) /* unacknowledged payload each way, per request */
#define LIMIT_SEND_QUEUE_BYTES                                                                     \
    (8u << 20)                      /* a connection's; over it the peer is too slow and is closed */
#define LIMIT_FLOWS        1024     /* requests of one connection that have not ended */
#define LIMIT_LINGER_MS    250      /* for the peer to read our last words before we close */
#define LIMIT_UP_KBIT      10000000 /* of a cap on what leaves towards an edge */
#define LIMIT_HELLO_MS     5000
#define LIMIT_HEARTBEAT_MS 2000
#define LIMIT_PROBE_BYTES  (32u << 10) /* zeros in a PING that measures the rate of a link */
#define LIMIT_IDLE_MS      7000

/* server and client daemon */
#define LIMIT_REQUESTS_PER_CONNECTION 256
#define LIMIT_REQUESTS                1024 /* live in one daemon */
#define LIMIT_RECENT_REQUESTS         4096 /* ended ones a server remembers, so that none runs twice */
#define LIMIT_PAYLOADS_BYTES                                                                       \
    (256u << 20) /* inputs a server holds at once, all requests together                           \
                  */
#define LIMIT_PEER_PAYLOADS_BYTES                                                                  \
    (128u << 20)                   /* of them for one connection, announced ones too               \
                                    */
#define LIMIT_UPLOAD_STALL_MS 5000 /* for the next piece of an input that was announced */
#define LIMIT_PICTURE_BATCH   16   /* pictures in one step of a server */
#define LIMIT_ANSWER_TEXT_BYTES                                                                    \
    (48u << 10) /* generated text; over it the answer ends with finish `length` */
#define LIMIT_TRANSCRIPT_BYTES (1u << 20) /* one conversation in a server */
#define LIMIT_LISTEN_URLS      8
#define LIMIT_TENANTS          256 /* configured; as many are told apart in one step */
#define LIMIT_SESSIONS         256
#define LIMIT_APP_CONNECTIONS  256
#define LIMIT_APP_UPLOADS      16 /* inputs that one application is sending as DATA at one time */
#define LIMIT_APP_INPUT_BYTES                                                                      \
    (256u << 20) /* inputs that came as DATA and are held, all applications together */
#define LIMIT_FEEDBACK_KEPT       8192 /* decisions of which something may still be said: 3 MB */
#define LIMIT_FEEDBACK_PER_S      100  /* what one application says of answers */
#define LIMIT_FEEDBACK_TURNS      16 /* times that the word of one answer changes: each is a line */
#define LIMIT_APP_FDS             16 /* descriptors of one application that wait for their request */
#define LIMIT_APP_OUTBOX_BYTES    (16u << 20) /* slow applications are cut off here */
#define LIMIT_STATUS_CONNECTIONS  64
#define LIMIT_STATUS_LINE_BYTES   256
#define LIMIT_STATUS_ANSWER_BYTES (4u << 20) /* to one request line */
#define LIMIT_STATUS_STREAMS      4          /* answers in pieces at a time */
#define LIMIT_STATUS_QUEUE_BYTES  (1u << 20) /* slow readers are cut off here */
#define LIMIT_DECISION_RING       1024
#define LIMIT_SHADOWS             32          /* shadow runs at one time, with those that wait */
#define LIMIT_SHADOW_BYTES        (32u << 20) /* inputs that they hold, all together */
#define LIMIT_SHADOW_WAIT_MS      10000 /* for its place; what is later tells of another time */
#define LIMIT_SHADOW_RUN_MS       30000 /* what an edge may take for one */
#define LIMIT_RESULT_ENTRIES      4096  /* answers in the result cache, whatever their size */
#define LIMIT_RESULT_SIMILAR      16    /* frames of one scope that a new one is compared with */
#define LIMIT_PRINT_PIXELS        (8u << 20) /* of an encoded picture that is decoded to compare it */
#define LIMIT_DECISION_FILE_BYTES                                                                  \
    (16 << 20) /* decisions.jsonl; the one before it is kept as .1                                 \
                */
#define LIMIT_DECISION_PENDING_BYTES                                                               \
    (4u << 20) /* decisions that wait for the next write of a second */
#define LIMIT_AMENDMENTS_BYTES                                                                     \
    (32u << 20) /* of what was told of decisions after their lines, in one reading of a file */
#define LIMIT_DECISION_ID_BLOCK 4096 /* ids that one write of the mark in decision-ids allows */
#define LIMIT_STATE_FILE_BYTES  (4u << 20) /* of a file under state_dir that is read back */
#define LIMIT_LEARNED_COUNT     (1u << 30) /* of one kind of event that is learned from */
#define LIMIT_EDGES             16
#define LIMIT_UPLOAD_FORMS      4 /* in which one picture may go to one edge, as it came among them */
#define LIMIT_PICTURE_EFFECTS   64                /* forms in one file of upload_effects */
#define LIMIT_CANDIDATES        (LIMIT_EDGES + 3) /* local, cascade, cache, edges */
#define LIMIT_DEADLINE_MS       3600000
#define LIMIT_LATE_MS                                                                              \
    120000 /* after its deadline an answer that is welcome late is still waited for: as long as a  \
              step of a local model may take before it hangs; a silent edge ends sooner, by        \
              LIMIT_IDLE_MS */
#define LIMIT_TIMER_US 1000 /* how late a timer of an idle loop may be: it counts whole ms */
#define LIMIT_LATENESS_MS                                                                          \
    50 /* how late the timers of a busy device are believed to be, at most                         \
        */
#define LIMIT_STEP_MS                                                                              \
    120000 /* one step of a local model; over it the runner hangs and the watchdog is no longer    \
              fed */
#define LIMIT_HANDOVER_US                                                                          \
    2000 /* from the runner to the caller: what an answer leaves of its deadline */

/* libtandem, one handle */
#define LIMIT_LIB_REQUESTS 64          /* under way */
#define LIMIT_LIB_BYTES    (64u << 20) /* of their inputs; one larger picture goes alone */
#define LIMIT_LIB_OUTBOX_BYTES                                                                     \
    (32u << 20) /* waiting to be written: texts and small pictures; large ones are memfds */
#define LIMIT_LIB_CONNECT_MS 2000 /* connect and hello */
#define LIMIT_LIB_GRACE_MS                                                                         \
    2000 /* after a deadline or a cancel, for the daemon to say how it ended */

/* tandem-model: files of other formats */
#define LIMIT_CHECKPOINT_TENSORS 16384 /* of one checkpoint, all its files together */
#define LIMIT_SHARD_HEADER_BYTES                                                                   \
    (8u << 20) /* JSON: of a .safetensors file, of its index, of config.json */
#define LIMIT_ZIP_ENTRIES         131072 /* a checkpoint with its optimizer has three a weight */
#define LIMIT_ZIP_DIRECTORY_BYTES (64u << 20)
#define LIMIT_PICKLE_BYTES        (16u << 20)
#define LIMIT_PICKLE_VALUES       (1u << 20) /* made while one is read */
#define LIMIT_FOLDED_ELEMENTS                                                                      \
    (64u << 20) /* numbers of a tensor that a conversion computes with                             \
                 */
#define LIMIT_TOKENIZER_FILE_BYTES (64 << 20)

/* tandemctl */
#define LIMIT_CTL_LINE_BYTES  (4u << 20) /* of a status answer */
#define LIMIT_CTL_ANSWER_MS   5000       /* for the daemon to begin an answer */
#define LIMIT_REPLAY_REQUESTS (1u << 20) /* of one replay: 16 MiB of latencies */

#endif
