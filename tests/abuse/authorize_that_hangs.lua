-- sends: GET /x, POST /v1/topics/t/messages
-- works:
function authorize() sleep(3600) return true end
