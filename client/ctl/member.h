/* member.h: members of the daemons' JSON objects. `object` may be NULL or no object: then it has
 * none. What comes back lives as long as the object. */
#ifndef TANDEM_CTL_MEMBER_H
#define TANDEM_CTL_MEMBER_H

#include <cjson/cJSON.h>

static inline const cJSON *member_get(const cJSON *object, const char *key)
{
    return cJSON_GetObjectItemCaseSensitive(object, key);
}

/* "" where it is no text. */
static inline const char *member_text(const cJSON *object, const char *key)
{
    const char *text = cJSON_GetStringValue(member_get(object, key));

    return text ? text : "";
}

/* For people: "-" where it is no text or an empty one. */
static inline const char *member_shown(const cJSON *object, const char *key)
{
    const char *text = member_text(object, key);

    return text[0] ? text : "-";
}

static inline double member_number_or_0(const cJSON *object, const char *key)
{
    const cJSON *value = member_get(object, key);

    return cJSON_IsNumber(value) ? value->valuedouble : 0;
}

#endif
